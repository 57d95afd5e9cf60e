//! Compressed streams as plain ones: gzip and zstd, told apart by their magic numbers, because media types lie and
//! archives have none. What comes out is as long as the stranger wants: whoever reads it counts. Knows no tar.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Bytes that are decoded ahead of the reader, beside the frame's window (which the decoder refuses above 128 MiB).
const AHEAD: usize = 1 << 20;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Told by a stream's first bytes; a skippable frame may stand before zstd's first (RFC 8878, section 3.1.2).
    pub(crate) fn of(magic: &[u8]) -> Compression {
        match magic {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

/// `reader` without its compression, if it has one.
pub(crate) fn plain<'a>(mut reader: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match Compression::of(reader.fill_buf()?) {
        Compression::Gzip => Box::new(MultiGzDecoder::new(reader)),
        Compression::Zstd => Box::new(Zstd { source: reader, decoder: FrameDecoder::new(), open: false }),
        Compression::None => Box::new(reader),
    })
}

/// The frames of a zstd stream, one after the other.
struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    /// Whether a frame has been begun and is not yet read out.
    open: bool,
}

impl<R: BufRead> Zstd<R> {
    /// Begins the next frame that holds content; false at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut self.source.by_ref().take(u64::from(length)), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(malformed(&error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.open {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.open = true;
            }
            if self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let ahead = BlockDecodingStrategy::UptoBytes(AHEAD);
                self.decoder.decode_blocks(&mut self.source, ahead).map_err(|error| malformed(&error))?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.open = !self.decoder.is_finished();
        }
    }
}

fn malformed(error: &FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("its zstd stream is malformed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        plain(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn every_compression_gives_the_same_bytes() {
        let text: Vec<u8> = (0..3_000_000u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let zstd = compress_to_vec(&text[..], CompressionLevel::Fastest);
        assert!(unpacked(&text).unwrap() == text);
        assert!(unpacked(&gzip.finish().unwrap()).unwrap() == text);
        assert!(unpacked(&zstd).unwrap() == text);
        // Frames may follow each other, with skippable ones between (RFC 8878, section 3.1).
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let many = [&skipped[..], &zstd, &skipped, &zstd].concat();
        assert!(unpacked(&many).unwrap() == [&text[..], &text].concat());
    }

    #[test]
    fn a_zstd_stream_that_breaks_off_or_lies_is_an_error() {
        let zstd = compress_to_vec(&vec![7; 400_000][..], CompressionLevel::Fastest);
        assert!(unpacked(&zstd[..zstd.len() - 1]).is_err());
        assert!(unpacked(b"\x28\xb5\x2f\xfd").is_err());
        assert!(unpacked(&[0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1]).is_err());
        assert!(unpacked(&[&zstd[..], b"rest"].concat()).is_err());
        // A window of 4 GiB (RFC 8878, section 3.1.1.1.2) is refused before anything is set aside for it.
        assert!(unpacked(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xb0, 0, 0, 0]).is_err());
    }
}
