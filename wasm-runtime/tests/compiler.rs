//! What the compiler says of modules: kind and imports, or one sentence.

use proa_wasm::{Engine, ModuleKind, compiler};

fn check(bytes: &[u8], expected: Result<ModuleKind, &str>) {
    let engine = Engine::for_compiling().unwrap();
    match (compiler::compile(&engine, bytes), expected) {
        (Ok((facts, code)), Ok(kind)) => {
            assert_eq!(facts.kind, kind);
            assert!(!code.is_empty());
        }
        (Err(error), Err(part)) => {
            let sentence = error.to_string();
            assert!(sentence.contains(part), "`{part}` is not in `{sentence}`");
            assert!(!sentence.contains('\n'), "more than one line: {sentence}");
        }
        (Ok((facts, _)), expected) => panic!("{facts:?} is not {expected:?}"),
        (Err(error), expected) => panic!("{error} is not {expected:?}"),
    }
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn samples_are_what_their_names_say() {
    check(proa_samples::HELLO_MODULE, Ok(ModuleKind::Module));
    check(proa_samples::HELLO_COMPONENT, Ok(ModuleKind::Command));
    check(proa_samples::HTTP_COMPONENT, Ok(ModuleKind::Http));
}

#[test]
fn what_is_no_wasm_is_refused() {
    check(b"", Err("not WebAssembly"));
    check(proa_samples::HELLO_LINUX, Err("not WebAssembly"));
    check(&proa_samples::HELLO_COMPONENT[..1000], Err("not valid WebAssembly"));
    let mut broken = proa_samples::HELLO_MODULE.to_vec();
    let middle = broken.len() / 2;
    broken.truncate(middle);
    check(&broken, Err("not valid WebAssembly"));
}

#[test]
fn an_unknown_function_of_wasi_is_named() {
    let text = r#"(module (import "wasi_snapshot_preview1" "sock_open" (func (param i32) (result i32)))
                    (memory (export "memory") 1) (func (export "_start")))"#;
    check(&wat(text), Err("`wasi_snapshot_preview1` `sock_open`"));
}

#[test]
fn an_unsupported_proposal_is_refused() {
    let text = r#"(module (memory 1 1 shared) (func (export "_start")))"#;
    check(&wat(text), Err("cannot be compiled"));
}

#[test]
fn an_import_of_the_wrong_type_is_refused() {
    let text = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i64))) (func (export "_start")))"#;
    check(&wat(text), Err("cannot be linked"));
}
