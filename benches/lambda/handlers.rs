//! The handlers, and how they are built.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What a handler is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A handler that answers at once.
    Floor,
    /// The service.
    Service,
    /// One GetItem in Rust without the AWS SDK.
    Raw,
    /// One GetItem in Rust with the defaults of the AWS SDK.
    SdkDefaults,
    /// One GetItem in JavaScript.
    Node,
    /// One GetItem in Python.
    Python,
}

impl Kind {
    /// Its name in the tables and in the chart.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor: answers at once",
            Self::Service => "user-service",
            Self::Raw => "Rust, no SDK",
            Self::SdkDefaults => "Rust, AWS SDK defaults",
            Self::Node => "Node.js, AWS SDK 3",
            Self::Python => "Python, boto3",
        }
    }

    /// Whether it calls DynamoDB.
    pub fn calls_dynamodb(self) -> bool {
        self != Self::Floor
    }

    /// Whether it reads the roots of the system on Lambda.
    pub fn reads_roots_of_system(self) -> bool {
        matches!(self, Self::SdkDefaults | Self::Node | Self::Python)
    }
}

/// A program that runs under the Runtime API.
#[derive(Clone, Debug)]
pub struct Handler {
    /// What it is.
    pub kind: Kind,
    /// Its executable file.
    pub program: PathBuf,
    /// The arguments of the program.
    pub arguments: Vec<String>,
    /// The variables that only this handler has.
    pub environment: Vec<(&'static str, String)>,
    /// Its executable file, or the folder of its code and its packages.
    pub code: PathBuf,
}

/// What is not measured on this machine.
#[derive(Debug)]
pub struct Skipped {
    /// The handler or the columns.
    pub what: String,
    /// Why.
    pub reason: String,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Skipped: {}, because {}.", self.what, self.reason)
    }
}

/// Builds the service.
///
/// # Panics
/// The build failed. cargo has printed why.
pub fn service() -> Handler {
    let arguments = [
        "--release",
        "--no-default-features",
        "--features",
        "lambda",
        "--bin",
        "user-service-lambda",
        "--manifest-path",
        "Cargo.toml",
    ];
    cargo_build("service", &arguments);
    binary(Kind::Service, "service/release/user-service-lambda")
}

/// Builds all handlers. The first is the floor. A peer whose language is missing is skipped.
///
/// # Panics
/// A build failed. cargo has printed why.
pub fn build() -> (Vec<Handler>, Vec<Skipped>) {
    let service = service();
    // One by one: built together, each would have the features of the others' dependencies.
    for (peer, profile) in [
        ("floor", "release"),
        ("raw", "release"),
        ("sdk-defaults", "defaults"),
    ] {
        let peer = [
            "--manifest-path",
            "benches/peers/Cargo.toml",
            "--package",
            peer,
            "--profile",
            profile,
        ];
        cargo_build("peers", &peer);
    }
    let mut handlers = vec![
        binary(Kind::Floor, "peers/release/floor"),
        service,
        binary(Kind::Raw, "peers/release/raw"),
        binary(Kind::SdkDefaults, "peers/defaults/sdk-defaults"),
    ];
    let mut skipped = Vec::new();
    let peers = root().join("benches/peers");
    for (kind, handler) in [
        (Kind::Node, node(&peers, &target())),
        (Kind::Python, python(&peers, &target())),
    ] {
        match handler {
            Ok(handler) => handlers.push(handler),
            Err(reason) => skipped.push(Skipped {
                what: kind.name().to_owned(),
                reason,
            }),
        }
    }
    (handlers, skipped)
}

/// Builds into the folder `target` of the benchmark.
fn cargo_build(folder: &str, arguments: &[&str]) {
    let status = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["build", "--locked", "--target-dir"])
        .arg(target().join(folder))
        .args(arguments)
        .status();
    let is_built = status.is_ok_and(|status| status.success());
    assert!(is_built, "cargo build {arguments:?} failed");
}

fn binary(kind: Kind, program: &str) -> Handler {
    let program = target().join(program);
    Handler {
        kind,
        program: program.clone(),
        arguments: Vec::new(),
        environment: Vec::new(),
        code: program,
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder in which everything is built.
fn target() -> PathBuf {
    root().join("target/benches")
}

/// The handler in JavaScript, with its packages.
fn node(peers: &Path, target: &Path) -> Result<Handler, String> {
    // The path of Node.js itself: `node` can be a script that needs a PATH.
    let program = output(Command::new("node").args(["--print", "process.execPath"]))?;
    let folder = target.join("node");
    copy(&peers.join("node"), &folder)?;
    let mut install = Command::new("npm");
    install.args(["ci", "--silent", "--engine-strict", "--ignore-scripts"]);
    install_once(&folder, "package-lock.json", &program, &mut install)?;
    Ok(Handler {
        kind: Kind::Node,
        program: program.into(),
        arguments: vec![text(&folder.join("runtime.mjs"))],
        environment: Vec::new(),
        code: folder,
    })
}

/// The handler in Python, with its packages.
fn python(peers: &Path, target: &Path) -> Result<Handler, String> {
    let program =
        output(Command::new("python3").args(["-c", "import sys; print(sys.executable)"]))?;
    let folder = target.join("python");
    copy(&peers.join("python"), &folder)?;
    let packages = folder.join("packages");
    let mut install = Command::new(&program);
    install
        .args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:"])
        .args(["--disable-pip-version-check", "--upgrade"])
        .args(["--requirement", "requirements.txt", "--target"])
        .arg(&packages);
    install_once(&folder, "requirements.txt", &program, &mut install)?;
    Ok(Handler {
        kind: Kind::Python,
        program: program.into(),
        arguments: ["-m", "awslambdaric", "handler.handler"]
            .map(String::from)
            .to_vec(),
        environment: vec![(
            "PYTHONPATH",
            format!("{}:{}", text(&folder), text(&packages)),
        )],
        code: folder,
    })
}

/// Runs `install` in `folder`, unless it has succeeded there with the same `lock` file and language.
fn install_once(
    folder: &Path,
    lock: &str,
    language: &str,
    install: &mut Command,
) -> Result<(), String> {
    let lock = fs::read_to_string(folder.join(lock)).map_err(|error| error.to_string())?;
    let version = output(Command::new(language).arg("--version"))?;
    let wanted = format!("{version}\n{lock}");
    let marker = folder.join(".installed");
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    eprintln!("installing the packages of {}", folder.display());
    output(install.current_dir(folder))?;
    fs::write(marker, wanted).map_err(|error| error.to_string())
}

/// Copies the files of the folder `from`.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let copy = || {
        fs::create_dir_all(to)?;
        for file in fs::read_dir(from)? {
            let file = file?;
            if file.file_type()?.is_file() {
                fs::copy(file.path(), to.join(file.file_name()))?;
            }
        }
        Ok(())
    };
    copy().map_err(|error: std::io::Error| error.to_string())
}

/// What `command` prints, without the last line end.
///
/// # Errors
/// Says in one line that it does not start, or how it fails.
pub fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("`{program}` does not start: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.trim().lines().last().unwrap_or("it says nothing");
    Err(format!("`{program}` fails: {last}"))
}

/// The path, which is UTF-8.
fn text(path: &Path) -> String {
    path.to_str().expect("the path is UTF-8").to_owned()
}
