//! A copy of `ipc-core` in which the loom models run, with a loom that tries more (`loom.patch`), and whose code may be changed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The copy, and the directory that it is in.
#[derive(Debug)]
pub struct Lab {
    directory: PathBuf,
}

impl Lab {
    /// Makes the copy anew, in `lab` below the target directory; one at a time. What was built of what it depends on stays from last time.
    ///
    /// # Panics
    ///
    /// If that cannot be done.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "it takes a while, and writes files"
    )]
    pub fn new() -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or(workspace.join("target"), PathBuf::from);
        let lab = Self {
            directory: target.join("lab"),
        };
        let _ = fs::remove_dir_all(lab.directory.join("ipc-core"));
        copy(&workspace.join("ipc-core"), &lab.directory.join("ipc-core"));
        for file in ["Cargo.lock", "README.md"] {
            fs::copy(workspace.join(file), lab.directory.join(file)).expect("copy a file");
        }
        let members = "members = [\"ipc-core\", \"ipc-tools\", \"tests\", \"benches\"]";
        let manifest = read(&workspace.join("Cargo.toml"));
        let manifest = manifest.replace(members, "members = [\"ipc-core\"]");
        let patched = manifest + "\n[patch.crates-io]\nloom = { path = \"loom\" }\n";
        fs::write(lab.directory.join("Cargo.toml"), patched).expect("write the manifest");
        lab.patch_loom(&workspace);
        lab
    }

    /// Where the code is.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        self.directory.join("ipc-core/src")
    }

    /// Builds the program that holds the models.
    ///
    /// # Panics
    ///
    /// If it does not compile.
    #[must_use]
    pub fn build(&self) -> PathBuf {
        let built = Command::new(env!("CARGO"))
            .current_dir(&self.directory)
            .env("CARGO_TARGET_DIR", self.directory.join("target"))
            .env("RUSTFLAGS", "--cfg loom")
            .args(["test", "--release", "--offline", "-p", "ipc-core", "--lib"])
            .arg("--no-run")
            .output()
            .expect("cargo runs");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "it does not compile:\n{said}");
        let program = said
            .split_once("Executable unittests src/lib.rs (")
            .and_then(|(_, rest)| rest.split_once(')'));
        self.directory
            .join(program.expect("cargo names the program").0)
    }

    fn patch_loom(&self, workspace: &Path) {
        let (patch, directory) = (
            workspace.join("tests/loom.patch"),
            self.directory.join("loom"),
        );
        let patch = fs::canonicalize(patch).expect("it is there");
        // Also says whether what lies there is whole: it is written last.
        let is_patched = directory.join("patched");
        if fs::read(&is_patched).ok() == fs::read(&patch).ok() {
            return; // else cargo would build it anew
        }
        let _ = fs::remove_dir_all(&directory);
        copy(&loom_of(workspace), &directory);
        let applied = Command::new("git")
            .current_dir(&directory)
            // Not as a part of the repository that this is in.
            .env("GIT_CEILING_DIRECTORIES", &self.directory)
            .arg("apply")
            .arg(&patch)
            .status();
        assert!(
            applied.expect("git runs").success(),
            "loom.patch does not fit"
        );
        fs::copy(&patch, is_patched).expect("copy the patch");
    }
}

/// Where cargo has loom's source, which it downloads if need be.
fn loom_of(workspace: &Path) -> PathBuf {
    let metadata = Command::new(env!("CARGO"))
        .current_dir(workspace)
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&metadata.stderr);
    assert!(metadata.status.success(), "no metadata:\n{said}");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("it is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let loom = packages.iter().find(|package| package["name"] == "loom");
    let manifest = loom.expect("ipc-core depends on it")["manifest_path"].as_str();
    Path::new(manifest.expect("a path"))
        .parent()
        .expect("it is in a directory")
        .to_owned()
}

/// The text of a file.
///
/// # Panics
///
/// If it cannot be read.
#[must_use]
pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make a directory");
    for entry in fs::read_dir(from).expect("read a directory") {
        let path = entry.expect("read a directory").path();
        let target = to.join(path.file_name().expect("entries have names"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copy a file");
        }
    }
}
