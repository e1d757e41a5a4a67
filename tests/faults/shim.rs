//! Small libraries in C that stand between the binary and its system: LD_PRELOAD, compiled by the test.

use std::path::{Path, PathBuf};

use syncbell_testkit::Binary;

use crate::house::WAIT;

/// Compiles `shims/NAME.c` into `folder`, and gives the library.
pub(crate) async fn built(name: &str, folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/faults/shims")
        .join(name)
        .with_extension("c");
    let library = folder.join(name).with_extension("so");
    let mut compiler = Binary::launch("gcc")
        .args([
            "-shared",
            "-fPIC",
            "-O2",
            "-Wall",
            "-Wno-format-truncation",
            "-o",
        ])
        .arg(&library)
        .arg(&source)
        .args(["-ldl", "-lpthread"])
        .start();
    let status = compiler.wait_for_exit(WAIT).await;
    assert!(status.success(), "gcc: {:?}", compiler.lines());
    library
}
