//! The logs of the test run: one file for each process. `.ci/run` searches them for personal data.

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::{LazyLock, Once},
};

use tracing_subscriber::util::SubscriberInitExt;
use user_service::log;
use uuid::Uuid;

static LOGS: LazyLock<PathBuf> = LazyLock::new(|| {
    let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("logs");
    fs::create_dir_all(&logs).unwrap();
    logs
});

/// A new log file for one process.
pub fn log_file(process: &str) -> (PathBuf, File) {
    let path = LOGS.join(format!("{process}-{}.log", Uuid::new_v4()));
    let file = File::create(&path).unwrap();
    (path, file)
}

/// Logs each line of the service in this process, at every level, to one file.
pub fn start_logging() {
    static START: Once = Once::new();
    START.call_once(|| {
        let (_, file) = log_file("tests");
        log::subscriber(
            log::Format::Json {
                function_name: log::SERVICE,
            },
            &log::Filter::parse("trace").unwrap(),
            file,
        )
        .init();
    });
}
