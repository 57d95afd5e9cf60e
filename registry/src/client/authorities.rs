//! Authorities of one registry's own, as Docker keeps them: `FOLDER/HOST[:PORT]/*.crt` are trusted for that host, and
//! `NAME.cert` with `NAME.key` are shown to it. What one host is trusted with holds for no other, wherever a redirect or
//! a token server leads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::Url;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, Result};

/// The largest file, and the most files of one host, that are read.
const FILE_MAX: u64 = 1 << 20;
const FILES_MAX: usize = 100;

/// Whom to trust: the machine's authorities, and folders with those of single hosts.
pub(super) struct Authorities {
    roots: RootCertStore,
    folders: Vec<PathBuf>,
}

impl Authorities {
    /// The machine's own authorities and `folders`, of which the first that knows a host decides. A machine without any
    /// can still talk to loopback.
    pub(super) fn new(folders: Vec<PathBuf>) -> Authorities {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Authorities { roots, folders }
    }

    /// The folder of a host (`HOST[:PORT]`), where there is one.
    pub(super) fn folder(&self, host: &str) -> Option<PathBuf> {
        // `HOST` without the port serves all its ports.
        let bare = host.rsplit_once(':').map(|(bare, _)| bare).filter(|bare| !bare.ends_with(':'));
        let names = [Some(host), bare];
        let names =
            names.iter().flatten().filter(|name| !name.is_empty() && !name.contains('/') && !name.starts_with('.'));
        let mut candidates = names.flat_map(|name| self.folders.iter().map(move |folder| folder.join(name)));
        candidates.find(|candidate| candidate.is_dir())
    }

    /// `HOST:PORT` of a URL, as folders are named.
    pub(super) fn host_of(url: &Url) -> String {
        let host = url.host_str().unwrap_or_default();
        url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// TLS towards hosts that have no folder.
    pub(super) fn common(&self) -> Result<ClientConfig> {
        Ok(builder()?.with_root_certificates(self.roots.clone()).with_no_client_auth())
    }

    /// TLS towards the host of `folder`.
    pub(super) fn of(&self, folder: &Path) -> Result<ClientConfig> {
        let refuse = |path: &Path, reason: String| Error::Certificates { path: path.to_path_buf(), reason };
        let mut roots = self.roots.clone();
        let mut client = None;
        for path in files(folder)? {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => {
                    for certificate in certificates(&path)? {
                        roots.add(certificate).map_err(|error| refuse(&path, error.to_string()))?;
                    }
                }
                Some("cert") => {
                    let key = path.with_extension("key");
                    if !key.is_file() {
                        return Err(refuse(&path, format!("its key `{}` is missing", key.display())));
                    }
                    let private =
                        PrivateKeyDer::from_pem_slice(&read(&key)?).map_err(|error| refuse(&key, error.to_string()))?;
                    client = Some((path.clone(), certificates(&path)?, private));
                }
                Some("key") if !path.with_extension("cert").is_file() => {
                    return Err(refuse(&path, "its certificate (`.cert`) is missing".to_owned()));
                }
                _ => {}
            }
        }
        let builder = builder()?.with_root_certificates(roots);
        match client {
            None => Ok(builder.with_no_client_auth()),
            Some((path, chain, key)) => {
                builder.with_client_auth_cert(chain, key).map_err(|error| refuse(&path, error.to_string()))
            }
        }
    }
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::Tls { source })
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::file("list folder", folder))?.take(FILES_MAX) {
        files.push(entry.map_err(Error::file("list folder", folder))?.path());
    }
    files.sort();
    Ok(files)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let refuse = |reason: String| Error::Certificates { path: path.to_path_buf(), reason };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let found = found.map_err(|error| refuse(error.to_string()))?;
    if found.is_empty() {
        return Err(refuse("it holds no certificate in PEM".to_owned()));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(Error::file("open", path))?;
    file.take(FILE_MAX).read_to_end(&mut bytes).map_err(Error::file("read", path))?;
    Ok(bytes)
}
