//! Files with many users.
//!
//! A million requests take a quarter of an hour or more, so the users are imported into the engine.
//! They are copies of the items that one `POST` stores: the item of the user, and the claim on its
//! address.

use std::{
    fs,
    path::{Path, PathBuf},
};

use dynoxide::{Database, ImportOptions, Item, actions::scan::ScanRequest};
use http::{Method, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{machine::version_of, process::Service};

/// The user that all others are made of.
const EMAIL: &str = "template@example.com";

/// The tables that a creation without an idempotency key writes.
const TABLES: [&str; 2] = ["UserData", "UserEmails"];

/// The number of users that are imported in one transaction.
const IN_ONE_IMPORT: u64 = 50_000;

/// A file with one user, whom `POST` created.
pub struct Template {
    file: PathBuf,
    /// The item in each of [`TABLES`], as JSON.
    items: [String; 2],
    /// The texts in the items that differ from user to user.
    user_id: String,
    revision: String,
    /// Differs if a file of an earlier run has another format.
    format: String,
}

impl Template {
    /// Creates a user in a new file in `folder`.
    pub async fn make(folder: &Path) -> Self {
        let file = folder.join("template.db");
        let service = Service::start(&file).await;
        let body = new_user(EMAIL);
        let request = service.request(Method::POST, "/users", body.clone());
        let (status, _) = service.send(request).await;
        assert_eq!(status, StatusCode::CREATED);
        service.stop().await;

        let database = open(&file);
        let items = TABLES.map(|table| only_item(&database, table));
        let text = |value: &Value| value.as_str().expect("it is a text").to_owned();
        let mut shape = Sha256::new();
        shape.update(version_of("dynoxide-rs"));
        shape.update(body);
        for item in &items {
            shape.update(shape_of(item));
        }
        let format = shape
            .finalize()
            .into_iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"));
        Self {
            file,
            user_id: text(&items[0]["userId"]["S"]),
            revision: text(&items[0]["_userService"]["M"]["revision"]["S"]),
            items: items.map(|item| item.to_string()),
            format: format.collect(),
        }
    }

    /// The items of the user with this number, one for each of [`TABLES`].
    fn items_of(&self, number: u64) -> [Item; 2] {
        let (user_id, revision) = (user_id(number), Uuid::new_v4().to_string());
        let email = email(number);
        self.items.each_ref().map(|item| {
            let item = item
                .replace(&self.user_id, &user_id)
                .replace(&self.revision, &revision)
                .replace(EMAIL, &email);
            serde_json::from_str(&item).expect("it is an item")
        })
    }
}

/// The body that creates a user with this address.
pub fn new_user(email: &str) -> String {
    format!(
        r#"{{"name":"Ada Lovelace","email":"{email}","phone":"+14155550123","metadata":{{"team":"engines","seats":3}}}}"#
    )
}

/// The `userId` of the user with this number. It is random, as those of the service are, so the
/// users are in the file in another order than in pages. It is the same in each run.
pub fn user_id(number: u64) -> String {
    let bytes = fastrand::Rng::with_seed(number).u128(..).to_be_bytes();
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
}

/// The address of the user with this number.
pub fn email(number: u64) -> String {
    format!("user-{number}@example.com")
}

/// A file in `folder` with this many users: that of an earlier run, or a new one. The users have
/// the numbers from 1, except for the template.
pub fn filled(folder: &Path, template: &Template, users: u64) -> PathBuf {
    let start = format!("users-{users}-");
    let filled = folder.join(format!("{start}{}.db", template.format));
    if filled.exists() {
        return filled;
    }
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let stale = entry.expect("the folder is readable").path();
        let name = stale.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with(&start)) {
            fs::remove_file(&stale).expect("the folder is writable");
        }
    }
    let unfinished = template.file.with_file_name("filling.db");
    fs::copy(&template.file, &unfinished).expect("the folder is writable");
    import(&unfinished, template, users);
    fs::rename(&unfinished, &filled).expect("it is on the same disk");
    filled
}

fn import(file: &Path, template: &Template, users: u64) {
    let database = open(file);
    // A crash loses only a file that the next run makes again.
    database.enable_bulk_loading().expect("the engine works");
    let mut next = 1;
    while next < users {
        eprintln!("filling: {next} of {users} users");
        let end = users.min(next + IN_ONE_IMPORT);
        let (mut items, mut claims) = (Vec::new(), Vec::new());
        for number in next..end {
            let [item, claim] = template.items_of(number);
            items.push(item);
            claims.push(claim);
        }
        for (table, items) in TABLES.into_iter().zip([items, claims]) {
            database
                .import_items(table, items, ImportOptions::default())
                .expect("the disk has room for the users");
        }
        next = end;
    }
    database.disable_bulk_loading().expect("the engine works");
}

fn open(file: &Path) -> Database {
    let path = file.to_str().expect("the path is UTF-8");
    Database::new(path).expect("the file is a database of the engine")
}

/// The only item of a table.
fn only_item(database: &Database, table: &str) -> Value {
    let request = ScanRequest {
        table_name: table.to_owned(),
        ..ScanRequest::default()
    };
    let items = database.scan(request).expect("there is such a table").items;
    let [item] = items.as_deref().unwrap_or_default() else {
        panic!("{table} has not one item: {items:?}");
    };
    serde_json::to_value(item).expect("an item is JSON")
}

/// The names of the members, with those of their values, in alphabetical order.
fn shape_of(value: &Value) -> String {
    let Value::Object(members) = value else {
        return String::new();
    };
    let mut shapes: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("{name}{{{}}}", shape_of(value)))
        .collect();
    shapes.sort();
    shapes.concat()
}
