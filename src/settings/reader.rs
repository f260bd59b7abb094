//! Reads settings, and collects their faults.

use std::fmt::Display;

use thiserror::Error;

/// A setting: a variable of the environment, or an option of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, such as `TABLE_NAME` or `--table`.
    pub name: &'static str,
    /// A value that it can have.
    pub example: &'static str,
}

impl Setting {
    /// The setting `name` with a value that it can have.
    pub const fn new(name: &'static str, example: &'static str) -> Self {
        Self { name, example }
    }
}

/// Everything that is wrong with a configuration: a line for each fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", .0.join("\n"))]
pub struct Faults(Vec<String>);

/// Reads settings, and collects the faults.
pub(super) struct Reader<Variable> {
    pub(super) variable: Variable,
    faults: Vec<String>,
}

impl<Variable: Fn(&str) -> Option<String>> Reader<Variable> {
    pub(super) fn new(variable: Variable) -> Self {
        Self {
            variable,
            faults: Vec::new(),
        }
    }

    /// `settings`, unless there are faults.
    pub(super) fn finish<T>(self, settings: Option<T>) -> Result<T, Faults> {
        settings
            .filter(|_| self.faults.is_empty())
            .ok_or(Faults(self.faults))
    }

    pub(super) fn get(&self, setting: Setting) -> Option<String> {
        (self.variable)(setting.name).filter(|value| !value.is_empty())
    }

    pub(super) fn fault(&mut self, Setting { name, example }: Setting, problem: impl Display) {
        let fault = format!("{name}: {problem}. Example: {name}={example}");
        self.faults.push(fault);
    }

    /// The value of a setting that has no default. If it is not set, the fault contains `purpose`,
    /// a sentence without its full stop.
    pub(super) fn required(&mut self, setting: Setting, purpose: &str) -> Option<String> {
        let value = self.get(setting);
        if value.is_none() {
            self.fault(setting, format_args!("not set. {purpose}"));
        }
        value
    }

    /// The parsed value of a setting. The default is the empty text.
    pub(super) fn optional<T, E: Display>(
        &mut self,
        setting: Setting,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.get(setting).unwrap_or_default();
        self.parsed(setting, &text, parse)
    }

    pub(super) fn parsed<T, E: Display>(
        &mut self,
        setting: Setting,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(text)
            .map_err(|problem| self.fault(setting, problem))
            .ok()
    }

    /// Finds settings that name the same table. That is a fault, because each needs its own table.
    pub(super) fn check_tables<'a>(
        &mut self,
        tables: impl IntoIterator<Item = (Setting, Option<&'a str>)>,
    ) {
        let mut named = Vec::<(Setting, &str)>::new();
        for (setting, table) in tables {
            let Some(table) = table else { continue };
            if let Some((other, _)) = named.iter().find(|(_, other)| *other == table) {
                self.faults.push(format!(
                    "{} and {} both name the table {table}; each needs a table of its own. \
                     Example: {0}={} {1}={}",
                    other.name, setting.name, other.example, setting.example
                ));
            }
            named.push((setting, table));
        }
    }
}
