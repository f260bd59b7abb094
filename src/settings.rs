//! Configuration. Both binaries read it here, once. One error reports all faults. Each fault names
//! the setting, says what is wrong with it, and gives an example.

mod canary;
mod endpoint;
mod reader;

use std::env;

use self::reader::Reader;
pub use self::{
    canary::CanarySettings,
    endpoint::{Endpoint, is_http_url, is_on_this_machine},
    reader::{Faults, Setting},
};
#[cfg(feature = "local")]
use crate::local::events::Secret;
use crate::{
    http::{base_path::BasePath, cors::AllowedOrigins},
    log,
    service::{AuthMode, ClaimNames, IssuerKind},
    store::{Retention, Tables, TrustedRoots},
};

/// The configuration of the Lambda function.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `TABLE_NAME`, `IDEMPOTENCY_TABLE_NAME`, `DELETED_USERS_TABLE_NAME`, `HISTORY_TABLE_NAME`, and
    /// `EMAILS_TABLE_NAME`. The last is not read if `UNIQUE_EMAILS` is `off`.
    pub tables: Tables,
    /// `DELETED_USERS_DAYS`, 30 by default; `HISTORY_DAYS`, 400 by default, unless `HISTORY` is
    /// `off`.
    pub retention: Retention,
    /// `AUTH_MODE`.
    pub auth_mode: AuthMode,
    /// With `AUTH_MODE=JWT`: those of `ISSUER_KIND`, or else `SCOPE_CLAIM`, `GROUPS_CLAIM` and
    /// `SUBJECT_CLAIM`. In every mode: `ADMIN_GROUP`, `admin` by default.
    pub claims: ClaimNames,
    /// `ALLOWED_ORIGINS`, none by default.
    pub allowed_origins: AllowedOrigins,
    /// `BASE_PATH`, empty by default.
    pub base_path: BasePath,
    /// `AWS_REGION`.
    pub region: String,
    /// The endpoint of DynamoDB. `None` means the endpoint of the region.
    pub endpoint: Option<Endpoint>,
    /// `TRUSTED_ROOTS`. The default is [`TrustedRoots::Amazon`] for an endpoint of
    /// `amazonaws.com`, and else [`TrustedRoots::System`].
    pub trusted_roots: TrustedRoots,
    /// `PRIMING`: whether init opens the connection to DynamoDB. The default is `on`.
    pub priming: bool,
}

impl Settings {
    /// Reads the configuration from the environment. `variable` returns the value of a variable. An
    /// empty variable counts as not set.
    ///
    /// # Errors
    /// All faults of the configuration.
    pub fn for_lambda(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        let mut reader = Reader::new(variable);
        let users = reader.required(USERS, "It is the name of the DynamoDB table of users");
        let emails = reader.emails_table();
        let keys = reader.required(
            KEYS,
            "It is the name of the DynamoDB table of idempotency keys",
        );
        let deleted_users = reader.required(
            DELETED_USERS,
            "It is the name of the DynamoDB table of deleted users",
        );
        let history = reader.required(
            HISTORY_TABLE,
            "It is the name of the DynamoDB table of history",
        );
        let tables = [
            (USERS, users.as_deref()),
            (EMAILS, emails.as_ref().and_then(Option::as_deref)),
            (KEYS, keys.as_deref()),
            (DELETED_USERS, deleted_users.as_deref()),
            (HISTORY_TABLE, history.as_deref()),
        ];
        reader.check_tables(tables);
        let retention = reader.retention();
        let auth_mode = reader.auth_mode();
        let claims = reader.claims(auth_mode);
        let allowed_origins = reader.optional(ORIGINS, AllowedOrigins::parse);
        let base_path = reader.optional(BASE_PATH, BasePath::parse);
        let region = reader.required(REGION, "Lambda sets it");
        let endpoint = reader.endpoint();
        let trusted_roots = reader.trusted_roots(endpoint.as_ref(), region.as_deref());
        let priming = reader.on_or_off(PRIMING);
        let settings = || {
            Some(Self {
                tables: Tables {
                    users: users?,
                    emails: emails?,
                    idempotency_keys: keys?,
                    deleted_users: deleted_users?,
                    history: history?,
                },
                retention: retention?,
                auth_mode: auth_mode?,
                claims: claims?,
                allowed_origins: allowed_origins?,
                base_path: base_path?,
                region: region?,
                endpoint,
                trusted_roots: trusted_roots?,
                priming: priming?,
            })
        };
        reader.finish(settings())
    }
}

/// The configuration of the local server and its commands, apart from their options.
#[cfg(feature = "local")]
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// `ALLOWED_ORIGINS`. The default is every origin of this machine, for front ends in
    /// development. If the DynamoDB is elsewhere, the default is no origin, so that an open page
    /// on this machine cannot reach those users.
    pub allowed_origins: AllowedOrigins,
    /// The endpoint of DynamoDB. `None` means the embedded DynamoDB.
    pub endpoint: Option<Endpoint>,
    /// `EVENTS_SECRET`, which signs the events that are posted. It is no option of the command line,
    /// because other accounts of the machine can read that.
    pub events_secret: Option<Secret>,
}

#[cfg(feature = "local")]
impl LocalSettings {
    /// Reads the configuration from the environment. `variable` returns the value of a variable.
    /// Checks that all `tables` in the options have different names. An empty variable counts as
    /// not set, but an empty `ALLOWED_ORIGINS` allows no origin.
    ///
    /// # Errors
    /// All faults of the configuration.
    pub fn read<'a>(
        variable: impl Fn(&str) -> Option<String>,
        tables: impl IntoIterator<Item = (Setting, Option<&'a str>)>,
    ) -> Result<Self, Faults> {
        let mut reader = Reader::new(variable);
        reader.check_tables(tables);
        reader.log_filter();
        let endpoint = reader.endpoint();
        let allowed_origins = match (reader.variable)(ORIGINS.name) {
            Some(origins) => reader.parsed(ORIGINS, &origins, AllowedOrigins::parse),
            None => Some(match &endpoint {
                Some(endpoint) if !is_on_this_machine(&endpoint.url) => AllowedOrigins::None,
                Some(_) | None => AllowedOrigins::Loopback,
            }),
        };
        let events_secret = (reader.variable)(EVENTS_SECRET.name)
            .map(|secret| reader.parsed(EVENTS_SECRET, &secret, Secret::parse));
        let settings = allowed_origins.map(|allowed_origins| Self {
            allowed_origins,
            endpoint,
            events_secret: events_secret.flatten(),
        });
        reader.finish(settings)
    }
}

/// A variable of this process's environment, for [`Settings`] and [`LocalSettings`].
pub fn environment(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// What to log: `RUST_LOG`. It is read separately, because the log starts before the
/// configuration is read.
///
/// # Errors
/// The fault of the variable. [`LocalSettings::read`] reports it, too.
pub fn log_filter(variable: impl Fn(&str) -> Option<String>) -> Result<log::Filter, Faults> {
    let mut reader = Reader::new(variable);
    let filter = reader.log_filter();
    reader.finish(filter)
}

/// Whether Lambda has started this process. It then sets `AWS_LAMBDA_RUNTIME_API`
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>).
pub fn is_started_by_lambda(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("AWS_LAMBDA_RUNTIME_API").is_some_and(|address| !address.is_empty())
}

/// The name of the function: `AWS_LAMBDA_FUNCTION_NAME`. It is read separately, like the filter.
pub fn function_name(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    variable("AWS_LAMBDA_FUNCTION_NAME")
}

const RUST_LOG: Setting = Setting::new("RUST_LOG", "debug");
const USERS: Setting = Setting::new("TABLE_NAME", "UserData");
const EMAILS: Setting = Setting::new("EMAILS_TABLE_NAME", "UserEmails");
const KEYS: Setting = Setting::new("IDEMPOTENCY_TABLE_NAME", "UserIdempotencyKeys");
const DELETED_USERS: Setting = Setting::new("DELETED_USERS_TABLE_NAME", "DeletedUsers");
const HISTORY_TABLE: Setting = Setting::new("HISTORY_TABLE_NAME", "UserHistory");
const DELETED_USERS_DAYS: Setting = Setting::new("DELETED_USERS_DAYS", "30");
const HISTORY: Setting = Setting::new("HISTORY", "off");
const HISTORY_DAYS: Setting = Setting::new("HISTORY_DAYS", "400");
const UNIQUE_EMAILS: Setting = Setting::new("UNIQUE_EMAILS", "on");
const AUTH_MODE: Setting = Setting::new("AUTH_MODE", "IAM");
const ISSUER_KIND: Setting = Setting::new("ISSUER_KIND", "keycloak");
const SCOPE_CLAIM: Setting = Setting::new("SCOPE_CLAIM", "scope");
const GROUPS_CLAIM: Setting = Setting::new("GROUPS_CLAIM", "https://example.com/groups");
const SUBJECT_CLAIM: Setting = Setting::new("SUBJECT_CLAIM", "sub");
const ADMIN_GROUP: Setting = Setting::new("ADMIN_GROUP", "admin");
const ORIGINS: Setting = Setting::new("ALLOWED_ORIGINS", "https://app.example.com");
#[cfg(feature = "local")]
const EVENTS_SECRET: Setting =
    Setting::new("EVENTS_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
const BASE_PATH: Setting = Setting::new("BASE_PATH", "accounts/v1");
const TRUSTED_ROOTS: Setting = Setting::new("TRUSTED_ROOTS", "system");
const PRIMING: Setting = Setting::new("PRIMING", "off");
const REGION: Setting = Setting::new("AWS_REGION", "us-east-1");

impl<Variable: Fn(&str) -> Option<String>> Reader<Variable> {
    fn log_filter(&mut self) -> Option<log::Filter> {
        let text = (self.variable)(RUST_LOG.name).unwrap_or_default();
        self.parsed(RUST_LOG, &text, log::Filter::parse)
    }

    /// The table of claims. `Some(None)` if users may share an address, and `None` if there is a
    /// fault.
    fn emails_table(&mut self) -> Option<Option<String>> {
        let purpose = "It is the name of the DynamoDB table of claims on email addresses. With \
                       UNIQUE_EMAILS=off there is none";
        if self.on_or_off(UNIQUE_EMAILS)? {
            self.required(EMAILS, purpose).map(Some)
        } else {
            Some(None)
        }
    }

    fn retention(&mut self) -> Option<Retention> {
        let default = Retention::default();
        let deleted_users = match self.get(DELETED_USERS_DAYS) {
            Some(days) => self.parsed(DELETED_USERS_DAYS, &days, |days| parse_days(days, 0)),
            None => Some(default.deleted_users_days),
        };
        let history = match self.get(HISTORY_DAYS) {
            Some(days) => self
                .parsed(HISTORY_DAYS, &days, |days| parse_days(days, 1))
                .map(Some),
            None => Some(default.history_days),
        };
        let keeps_history = self.on_or_off(HISTORY)?;
        Some(Retention {
            deleted_users_days: deleted_users?,
            history_days: history?.filter(|_| keeps_history),
        })
    }

    /// A switch that is `on` by default.
    fn on_or_off(&mut self, switch: Setting) -> Option<bool> {
        match self.get(switch).as_deref() {
            None | Some("on") => Some(true),
            Some("off") => Some(false),
            Some(other) => {
                self.fault(switch, format_args!("must be on or off, not {other:?}"));
                None
            }
        }
    }

    /// The roots that `TRUSTED_ROOTS` names, or else those for the endpoint of DynamoDB.
    fn trusted_roots(
        &mut self,
        endpoint: Option<&Endpoint>,
        region: Option<&str>,
    ) -> Option<TrustedRoots> {
        if let Some(name) = self.get(TRUSTED_ROOTS) {
            return self.parsed(TRUSTED_ROOTS, &name, |name| {
                TrustedRoots::parse(name)
                    .ok_or_else(|| format!("must be amazon or system, not {name:?}"))
            });
        }
        Some(match endpoint {
            Some(endpoint) => TrustedRoots::for_host(&endpoint.host()),
            None => TrustedRoots::for_region(region.unwrap_or_default()),
        })
    }

    fn auth_mode(&mut self) -> Option<AuthMode> {
        let purpose = "It is what the gateway asks of callers: IAM, COGNITO, JWT or NONE";
        let mode = self.required(AUTH_MODE, purpose)?;
        self.parsed(AUTH_MODE, &mode, |mode| {
            AuthMode::parse(mode)
                .ok_or_else(|| format!("must be IAM, COGNITO, JWT or NONE, not {mode:?}"))
        })
    }

    /// The claims of a token. A user pool behind a REST API has its own, and they cannot be chosen.
    fn claims(&mut self, auth_mode: Option<AuthMode>) -> Option<ClaimNames> {
        let admin_group = self.admin_group();
        let names = match auth_mode? {
            AuthMode::Jwt => self.claims_of_issuer(),
            AuthMode::Iam | AuthMode::Cognito | AuthMode::None => Some(ClaimNames::default()),
        };
        let mut names = names?;
        if let Some(admin_group) = admin_group? {
            names.admin_group = admin_group.into();
        }
        Some(names)
    }

    fn claims_of_issuer(&mut self) -> Option<ClaimNames> {
        let purpose = "With AUTH_MODE=JWT, it says whose claims a token has: auth0, cognito, entra, \
                       keycloak, okta or other";
        let kind = self.required(ISSUER_KIND, purpose)?;
        let kind = self.parsed(ISSUER_KIND, &kind, |kind| {
            IssuerKind::parse(kind).ok_or_else(|| {
                format!("must be auth0, cognito, entra, keycloak, okta or other, not {kind:?}")
            })
        })?;
        let mut names = ClaimNames::of(kind);
        if let Some(scopes) = self.get(SCOPE_CLAIM) {
            names.scopes = scopes.into();
        }
        if let Some(groups) = self.get(GROUPS_CLAIM) {
            names.groups = groups.into();
        }
        if let Some(subject) = self.get(SUBJECT_CLAIM) {
            names.subject = subject.into();
            names.subject_without_user = None;
        }
        Some(names)
    }

    /// The group of admins. `Some(None)` if it is not set. Gateways write lists with commas or
    /// brackets, so a name must not have them.
    fn admin_group(&mut self) -> Option<Option<String>> {
        let Some(group) = self.get(ADMIN_GROUP) else {
            return Some(None);
        };
        let group = self.parsed(ADMIN_GROUP, &group, |group| {
            match group.contains([',', '[', ']']) {
                true => Err(format!(
                    "must have no comma and no bracket, unlike {group:?}"
                )),
                false => Ok(group.to_owned()),
            }
        });
        group.map(Some)
    }

    fn endpoint(&mut self) -> Option<Endpoint> {
        let endpoint = Endpoint::configured(&self.variable)?;
        if !is_http_url(&endpoint.url) {
            let setting = Setting::new(endpoint.variable, "http://127.0.0.1:8000");
            self.fault(
                setting,
                format_args!("{:?} is not an HTTP URL", endpoint.url),
            );
        }
        Some(endpoint)
    }
}

/// The maximum number of days that items are kept.
pub const MAX_DAYS: u16 = 3650;

/// A number of days, at least `least`.
fn parse_days(text: &str, least: u16) -> Result<u16, String> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let days = text.parse().ok().filter(|_| is_number);
    days.filter(|days| (least..=MAX_DAYS).contains(days))
        .ok_or_else(|| format!("must be a number of days from {least} to {MAX_DAYS}, not {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    /// The variables of a function with the default parameters of the stack.
    const COMPLETE: Variables = &[
        ("TABLE_NAME", "UserData"),
        ("EMAILS_TABLE_NAME", "UserEmails"),
        ("IDEMPOTENCY_TABLE_NAME", "UserIdempotencyKeys"),
        ("DELETED_USERS_TABLE_NAME", "DeletedUsers"),
        ("HISTORY_TABLE_NAME", "UserHistory"),
        ("AUTH_MODE", "IAM"),
        ("AWS_REGION", "us-east-1"),
    ];

    /// An environment with the variables of `changed`, and otherwise those of [`COMPLETE`].
    fn with(changed: Variables<'_>) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let mut variables = changed.iter().chain(COMPLETE);
            let (_, value) = variables.find(|(other, _)| *other == name)?;
            Some(String::from(*value))
        }
    }

    #[test]
    fn the_endpoint_decides_which_roots_are_trusted_unless_trusted_roots_does() {
        let cases: &[(Variables<'_>, TrustedRoots)] = &[
            (&[("AWS_REGION", "cn-north-1")], TrustedRoots::System),
            (
                &[("AWS_ENDPOINT_URL", "https://proxy:8443")],
                TrustedRoots::System,
            ),
            (
                &[(
                    "AWS_ENDPOINT_URL",
                    "https://dynamodb.us-east-1.amazonaws.com",
                )],
                TrustedRoots::Amazon,
            ),
            (&[("TRUSTED_ROOTS", "system")], TrustedRoots::System),
        ];
        for (changed, roots) in cases {
            let settings = Settings::for_lambda(with(changed)).unwrap();
            assert_eq!(settings.trusted_roots, *roots, "{changed:?}");
        }
    }

    #[test]
    fn a_complete_environment_is_read() {
        let settings = Settings::for_lambda(with(&[])).unwrap();
        assert_eq!(settings.tables.users, "UserData");
        assert_eq!(settings.tables.emails.as_deref(), Some("UserEmails"));
        assert_eq!(settings.tables.idempotency_keys, "UserIdempotencyKeys");
        assert_eq!(settings.auth_mode, AuthMode::Iam);
        assert!(matches!(settings.allowed_origins, AllowedOrigins::None));
        assert_eq!(settings.base_path.as_str(), "");
        assert_eq!(settings.region, "us-east-1");
        assert_eq!(settings.endpoint, None);
        assert_eq!(settings.trusted_roots, TrustedRoots::Amazon);
        assert!(settings.priming);

        let shared = with(&[("UNIQUE_EMAILS", "off"), ("EMAILS_TABLE_NAME", "UserData")]);
        assert_eq!(Settings::for_lambda(shared).unwrap().tables.emails, None);
    }

    #[test]
    fn claims_are_those_of_the_issuer_unless_a_variable_names_others() {
        let claims = |changed| Settings::for_lambda(with(changed)).unwrap().claims;
        const JWT: (&str, &str) = ("AUTH_MODE", "JWT");
        const OKTA: (&str, &str) = ("ISSUER_KIND", "okta");
        let okta = claims(&[JWT, OKTA]);
        assert_eq!(okta, ClaimNames::of(IssuerKind::Okta));
        let names = [
            JWT,
            OKTA,
            ("SCOPE_CLAIM", "scope"),
            ("GROUPS_CLAIM", "https://example.com/groups"),
        ];
        let changed = claims(&names);
        assert_eq!(changed.scopes, "scope");
        assert_eq!(changed.groups, "https://example.com/groups");
        assert_eq!(changed.subject, okta.subject);
        assert_eq!(changed.subject_without_user, Some("cid"));
        // A subject of one's own has no substitute.
        let changed = claims(&[JWT, OKTA, ("SUBJECT_CLAIM", "employee")]);
        assert_eq!(changed.subject, "employee");
        assert_eq!(changed.subject_without_user, None);
        assert_eq!(changed.issuer, IssuerKind::Okta);
        // Behind a REST API, the claims are those of a user pool.
        for mode in ["IAM", "COGNITO", "NONE"] {
            let of_mode = with(&[OKTA, ("GROUPS_CLAIM", "scope"), ("SUBJECT_CLAIM", "scope")]);
            let of_mode = move |name: &str| match name {
                "AUTH_MODE" => Some(String::from(mode)),
                _ => of_mode(name),
            };
            let claims = Settings::for_lambda(of_mode).unwrap().claims;
            assert_eq!(claims, ClaimNames::default());
        }
    }

    #[test]
    fn the_group_of_admins_is_admin_unless_a_variable_names_another() {
        for mode in ["COGNITO", "JWT"] {
            for (group, expected) in [("", "admin"), ("IT admin", "IT admin")] {
                let variables = with(&[("ISSUER_KIND", "okta")]);
                let variables = move |name: &str| match name {
                    "AUTH_MODE" => Some(String::from(mode)),
                    "ADMIN_GROUP" => Some(String::from(group)),
                    _ => variables(name),
                };
                let claims = Settings::for_lambda(variables).unwrap().claims;
                assert_eq!(claims.admin_group, expected);
            }
        }
    }

    #[test]
    fn each_fault_names_the_variable_the_problem_and_an_example() {
        let cases: &[(Variables, &[&str])] = &[
            (
                &[("TABLE_NAME", "")],
                &[
                    "TABLE_NAME: not set. It is the name of the DynamoDB table of users. \
                   Example: TABLE_NAME=UserData",
                ],
            ),
            (
                &[("EMAILS_TABLE_NAME", ""), ("UNIQUE_EMAILS", "on")],
                &[
                    "EMAILS_TABLE_NAME: not set. It is the name of the DynamoDB table of claims on \
                   email addresses. With UNIQUE_EMAILS=off there is none. \
                   Example: EMAILS_TABLE_NAME=UserEmails",
                ],
            ),
            (
                &[("UNIQUE_EMAILS", "no")],
                &["UNIQUE_EMAILS: must be on or off, not \"no\". Example: UNIQUE_EMAILS=on"],
            ),
            (
                &[("AUTH_MODE", "iam")],
                &[
                    "AUTH_MODE: must be IAM, COGNITO, JWT or NONE, not \"iam\". \
                   Example: AUTH_MODE=IAM",
                ],
            ),
            (
                &[("AUTH_MODE", "JWT")],
                &[
                    "ISSUER_KIND: not set. With AUTH_MODE=JWT, it says whose claims a token has: \
                   auth0, cognito, entra, keycloak, okta or other. Example: ISSUER_KIND=keycloak",
                ],
            ),
            (
                &[("AUTH_MODE", "JWT"), ("ISSUER_KIND", "Okta")],
                &[
                    "ISSUER_KIND: must be auth0, cognito, entra, keycloak, okta or other, not \
                   \"Okta\". Example: ISSUER_KIND=keycloak",
                ],
            ),
            (
                &[("ADMIN_GROUP", "ops,admin")],
                &[
                    "ADMIN_GROUP: must have no comma and no bracket, unlike \"ops,admin\". \
                   Example: ADMIN_GROUP=admin",
                ],
            ),
            (
                &[("BASE_PATH", "users")],
                &[
                    "BASE_PATH: must not be users, with which the paths of the API begin. \
                   Example: BASE_PATH=accounts/v1",
                ],
            ),
            (
                &[("AWS_ENDPOINT_URL", "localhost:8000")],
                &["AWS_ENDPOINT_URL: \"localhost:8000\" is not an HTTP URL. \
                   Example: AWS_ENDPOINT_URL=http://127.0.0.1:8000"],
            ),
            (
                &[("IDEMPOTENCY_TABLE_NAME", "UserEmails")],
                &[
                    "EMAILS_TABLE_NAME and IDEMPOTENCY_TABLE_NAME both name the table UserEmails; \
                   each needs a table of its own. Example: EMAILS_TABLE_NAME=UserEmails \
                   IDEMPOTENCY_TABLE_NAME=UserIdempotencyKeys",
                ],
            ),
            (
                &[
                    ("TABLE_NAME", "UserEmails"),
                    ("AWS_REGION", ""),
                    ("IDEMPOTENCY_TABLE_NAME", ""),
                    ("AUTH_MODE", ""),
                ],
                &[
                    "IDEMPOTENCY_TABLE_NAME: not set. It is the name of the DynamoDB table of \
                     idempotency keys. Example: IDEMPOTENCY_TABLE_NAME=UserIdempotencyKeys",
                    "TABLE_NAME and EMAILS_TABLE_NAME both name the table UserEmails; each needs \
                     a table of its own. Example: TABLE_NAME=UserData \
                     EMAILS_TABLE_NAME=UserEmails",
                    "AUTH_MODE: not set. It is what the gateway asks of callers: IAM, COGNITO, JWT \
                     or NONE. Example: AUTH_MODE=IAM",
                    "AWS_REGION: not set. Lambda sets it. Example: AWS_REGION=us-east-1",
                ],
            ),
        ];
        for (changed, faults) in cases {
            let found = Settings::for_lambda(with(changed)).unwrap_err();
            assert_eq!(found.to_string(), faults.join("\n"));
        }
    }

    #[test]
    fn every_fault_of_an_empty_environment_comes_in_one_answer() {
        let faults = Settings::for_lambda(|_| None).unwrap_err().to_string();
        let named: Vec<_> = faults
            .lines()
            .filter_map(|line| Some(line.split_once(':')?.0))
            .collect();
        let without_default = COMPLETE.iter().map(|(name, _)| *name);
        assert_eq!(named, without_default.collect::<Vec<_>>());
    }

    #[test]
    fn the_local_server_allows_pages_of_this_machine_unless_the_dynamodb_is_elsewhere() {
        let origins = |variables| {
            let settings = LocalSettings::read(with(variables), []).unwrap();
            settings.allowed_origins
        };
        const ENDPOINT: &str = "AWS_ENDPOINT_URL";
        assert!(matches!(origins(&[]), AllowedOrigins::Loopback));
        let here = origins(&[(ENDPOINT, "http://localhost:8000")]);
        assert!(matches!(here, AllowedOrigins::Loopback));
        let elsewhere = origins(&[(ENDPOINT, "http://dynamodb.example")]);
        assert!(matches!(elsewhere, AllowedOrigins::None));
        let none = origins(&[("ALLOWED_ORIGINS", "")]);
        assert!(matches!(none, AllowedOrigins::None));
    }

    #[test]
    fn every_fault_of_the_local_server_comes_in_one_answer() {
        let variables = with(&[
            ("AWS_ENDPOINT_URL", "nowhere"),
            ("ALLOWED_ORIGINS", "example.com"),
        ]);
        let tables = [
            (Setting::new("--table", "UserData"), Some("Abc")),
            (Setting::new("--emails-table", "UserEmails"), None),
            (Setting::new("--idempotency-table", "UserKeys"), Some("Abc")),
        ];
        let faults = LocalSettings::read(variables, tables).unwrap_err();
        let faults = faults.to_string();
        let lines: Vec<_> = faults.lines().collect();
        let [equal, endpoint, origins] = lines.as_slice() else {
            panic!("{faults}");
        };
        assert!(equal.starts_with("--table and --idempotency-table both name the table Abc; "));
        assert!(endpoint.starts_with("AWS_ENDPOINT_URL: \"nowhere\" is not an HTTP URL. "));
        assert!(origins.starts_with("ALLOWED_ORIGINS: \"example.com\" is not an origin"));
    }
}
