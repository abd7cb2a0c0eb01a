//! Tools that the checks need, pinned and kept outside the work tree.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::display::Display;
use crate::steps::Step;

/// A cargo tool of a fixed version.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// The crate, which is also the program.
    pub name: &'static str,
    /// The version.
    pub version: &'static str,
    /// What else cargo is told to install it.
    pub arguments: &'static [&'static str],
}

/// Licences, sources and bans of dependencies.
pub const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", arguments: &[] };

/// What a program is made of, as a bill of materials.
pub const CARGO_CYCLONEDX: Tool = Tool { name: "cargo-cyclonedx", version: "0.5.9", arguments: &[] };

/// Makes a book of pages; what serves it while it is written is left out.
pub const MDBOOK: Tool =
    Tool { name: "mdbook", version: "0.5.4", arguments: &["--no-default-features", "--features", "search"] };

/// Follows a book's links.
pub const MDBOOK_LINKCHECK: Tool = Tool { name: "mdbook-linkcheck2", version: "0.13.0", arguments: &[] };

/// Where things are kept that are costly to make: `$XDG_CACHE_HOME/kubectl-clearwater`.
pub fn cache_dir() -> anyhow::Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => {
            PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?).join(".cache")
        }
    };
    Ok(base.join("kubectl-clearwater"))
}

impl Tool {
    fn root(&self) -> anyhow::Result<PathBuf> {
        Ok(cache_dir()?.join("tools").join(format!("{}-{}", self.name, self.version)))
    }

    /// Where the program is once it is installed.
    pub fn program(&self) -> anyhow::Result<PathBuf> {
        Ok(self.root()?.join("bin").join(self.name))
    }

    /// The step that installs it, where it is missing.
    pub fn missing(&self, group: &'static str) -> anyhow::Result<Option<Step<'static>>> {
        if self.program()?.exists() {
            return Ok(None);
        }
        let root = self.root()?;
        let root = root.to_str().context("the cache has a name that is no text")?;
        let install = ["install", self.name, "--version", self.version, "--locked", "--root", root];
        let install = [&install[..], self.arguments].concat();
        Ok(Some(Step::new(group, "cargo", &install).named(&format!("install {} {}", self.name, self.version))))
    }
}

/// The servers that the stand-ins' own tests run, as Debian packages with what they need beyond a bare system.
const SERVERS: [&str; 8] = [
    "etcd-server=3.4.*",
    "kamailio=5.6.*",
    "kamailio-json-modules=5.6.*",
    "kamailio-utils-modules=5.6.*",
    "libcurl4=7.88.*",
    "libevent-2.1-7=2.1.*",
    "libjson-c5=0.16-*",
    "memcached=1.6.*",
];

/// The compiler of protocol buffers that the backend etcd is built with, and the definitions that it brings.
const PROTOC: [&str; 4] =
    ["protobuf-compiler=3.21.*", "libprotobuf-dev=3.21.*", "libprotoc32=3.21.*", "libprotobuf32=3.21.*"];

/// A folder that holds `etcd`, `kamailio` and `memcached`, or `None` on a system without apt.
pub fn servers() -> anyhow::Result<Option<PathBuf>> {
    unpacked("debian-servers-2", &SERVERS, &["etcd", "kamailio", "memcached"])
}

/// `protoc`: the machine's own, else Debian's. `None` where there is neither.
pub fn protoc() -> anyhow::Result<Option<PathBuf>> {
    if is_installed("protoc") {
        return Ok(Some("protoc".into()));
    }
    Ok(unpacked("debian-protoc-1", &PROTOC, &["protoc"])?.map(|bin| bin.join("protoc")))
}

/// A phone that is not this project's, in its parts that need no device for sound and pictures.
const PHONE: [&str; 4] = ["baresip-core=1.0.*", "libre0=1.1.*", "librem0=0.6.*", "libvpx7=1.12.*"];

/// `baresip`, or `None` on a system without apt.
pub fn phone() -> anyhow::Result<Option<PathBuf>> {
    Ok(unpacked("debian-phone-2", &PHONE, &["baresip"])?.map(|bin| bin.join("baresip")))
}

/// A compiler of C for another system than this one.
struct Cross {
    /// How the names of the targets begin and end that it is for.
    target: (&'static str, &'static str),
    /// What it is called where it is installed.
    usual: &'static str,
    /// Debian's packages, with what it reads and runs.
    packages: &'static [&'static str],
    /// Where they are kept.
    folder: &'static str,
    /// The compiler in them, and what Rust starts beside it.
    programs: &'static [&'static str],
}

const CROSS: [Cross; 2] = [
    Cross {
        target: ("aarch64-", "-linux-musl"),
        usual: "aarch64-linux-gnu-gcc",
        packages: &[
            "binutils-aarch64-linux-gnu=2.40-*",
            "cpp-12-aarch64-linux-gnu=12.2.*",
            "gcc-12-aarch64-linux-gnu=12.2.*",
            "libc6-dev-arm64-cross=2.36-*",
            "libgcc-12-dev-arm64-cross=12.2.*",
            "linux-libc-dev-arm64-cross=6.1.*",
        ],
        folder: "debian-arm64-1",
        programs: &["aarch64-linux-gnu-gcc-12"],
    },
    Cross {
        target: ("x86_64-", "-windows-gnu"),
        usual: "x86_64-w64-mingw32-gcc",
        packages: &[
            "binutils-mingw-w64-x86-64=2.40-*",
            "gcc-mingw-w64-x86-64-win32=12.2.*",
            "gcc-mingw-w64-x86-64-win32-runtime=12.2.*",
            "mingw-w64-common=10.0.*",
            "mingw-w64-x86-64-dev=10.0.*",
        ],
        folder: "debian-windows-1",
        programs: &["x86_64-w64-mingw32-gcc-win32", "x86_64-w64-mingw32-as", "x86_64-w64-mingw32-dlltool"],
    },
];

/// A compiler of C for a target of Rust's: `cc` where that is this machine's own. `None` where there is none and no apt.
pub fn c_compiler(triple: &str) -> anyhow::Result<Option<PathBuf>> {
    if triple.starts_with(std::env::consts::ARCH) && triple.contains("-linux-") {
        return Ok(Some("cc".into()));
    }
    let is_for = |cross: &&Cross| triple.starts_with(cross.target.0) && triple.ends_with(cross.target.1);
    let Some(cross) = CROSS.iter().find(is_for) else { return Ok(None) };
    if is_installed(cross.usual) {
        return Ok(Some(cross.usual.into()));
    }
    Ok(unpacked(cross.folder, cross.packages, cross.programs)?.map(|bin| bin.join(cross.programs[0])))
}

/// Whether the machine has a program of its own.
fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success())
}

/// What runs programs for other processors.
const EMULATOR: [&str; 1] = ["qemu-user-static=1:7.2+*"];

/// What runs a program for this processor here: nothing where it is the machine's own.
pub fn emulator(processor: &str) -> anyhow::Result<Option<PathBuf>> {
    if processor == std::env::consts::ARCH {
        return Ok(None);
    }
    let program = format!("qemu-{processor}-static");
    let bin = unpacked("debian-emulator-1", &EMULATOR, &[&program])?;
    Ok(Some(bin.context("there is no apt to get qemu with")?.join(program)))
}

/// What makes archives as Windows reads them.
pub fn zip() -> anyhow::Result<PathBuf> {
    if is_installed("zip") {
        return Ok("zip".into());
    }
    let bin = unpacked("debian-zip-1", &["zip=3.0-*"], &["zip"])?;
    Ok(bin.context("zip is missing, and there is no apt to get it with")?.join("zip"))
}

/// What reads scripts of shells, with what it needs beyond a bare system.
const SHELLCHECK: [&str; 3] = ["shellcheck=0.9.*", "libgmp10=2:6.2.*", "libffi8=3.4.*"];

/// A folder with `shellcheck`, or `None` on a system without apt.
pub fn shellcheck() -> anyhow::Result<Option<PathBuf>> {
    unpacked("debian-shellcheck-1", &SHELLCHECK, &["shellcheck"])
}

/// A folder with programs of Debian packages, or `None` on a system without apt.
///
/// The packages are unpacked, never installed: installing servers would start them as services of the machine.
fn unpacked(name: &str, packages: &[&str], programs: &[&str]) -> anyhow::Result<Option<PathBuf>> {
    let root = cache_dir()?.join("tools").join(name);
    let bin = root.join("bin");
    if bin.exists() {
        return Ok(Some(bin));
    }
    if Command::new("apt-get").arg("--version").output().is_err() {
        return Ok(None);
    }
    let _shown = Display::of(&format!("fetch {} from Debian", programs.join(", ")));
    let work = root.with_extension("new");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(work.join("bin"))?;
    let download = || apt(&work, ["--quiet=2", "download"].into_iter().chain(packages.iter().copied()));
    if download().is_err() {
        apt(&work, ["--quiet=2", "update"])?;
        download()?;
    }
    for entry in fs::read_dir(&work)?.flatten() {
        if entry.path().extension().is_some_and(|e| e == "deb") {
            let done = Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(&work).status()?;
            ensure!(done.success(), "cannot unpack {}", entry.path().display());
        }
    }
    for program in programs {
        let folder = if work.join("usr/sbin").join(program).exists() { "usr/sbin" } else { "usr/bin" };
        let libraries = format!("{0}/usr/lib/x86_64-linux-gnu:{0}/usr/lib/x86_64-linux-gnu/{program}", root.display());
        let script =
            format!("#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {}/{folder}/{program} \"$@\"\n", root.display());
        let path = work.join("bin").join(program);
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    fs::rename(&work, &root)?;
    Ok(Some(bin))
}

fn apt<'a>(folder: &Path, args: impl IntoIterator<Item = &'a str>) -> anyhow::Result<()> {
    let done = Command::new("apt-get").args(args).current_dir(folder).output().context("cannot start apt-get")?;
    ensure!(done.status.success(), "apt-get: {}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}
