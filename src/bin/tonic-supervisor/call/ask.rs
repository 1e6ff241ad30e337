//! What the command must know before it calls: from the file of descriptors, or else by asking the
//! server's reflection, within its time and its bounds.

use super::{
    any::{DEEPEST, Inside},
    explain::counted,
    reflection::{FILES, Reflection, Unknown},
    schema::{MethodName, Schema},
    session::Session,
};
use crate::CliError;
use prost_reflect::DynamicMessage;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;
use tonic_supervisor::printable;

/// How long a server has for its reflection, unless `--timeout` is shorter.
const REFLECTION: Duration = Duration::from_secs(10);

impl Session<'_> {
    fn reflection(&self) -> Reflection {
        let time = self.within(REFLECTION);
        Reflection::new(self.channel(), self.plan.metadata.clone(), time)
    }

    /// The names of the server's services, or of those in the file.
    pub(super) async fn services(&self) -> Result<Vec<String>, CliError> {
        if let Some(schema) = self.file()? {
            return Ok(schema.services());
        }
        self.connect().await?;
        let listed = timeout(self.within(REFLECTION), self.reflection().services()).await;
        listed.unwrap_or_else(|_| Err(late())).map_err(|why| self.unknown(why))
    }

    fn file(&self) -> Result<Option<Schema>, CliError> {
        let Some((path, set)) = &self.plan.descriptors else { return Ok(None) };
        let schema = Schema::of_set(set)
            .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
        let files = counted(schema.files(), "file");
        self.journal.step("schema", &format!("{files} of {}", path.display()));
        Ok(Some(schema))
    }

    /// What `symbol` is, and all that it needs.
    pub(super) async fn schema(&self, symbol: &str) -> Result<Schema, CliError> {
        if let Some(schema) = self.file()? {
            return Ok(schema);
        }
        self.connect().await?;
        let symbol = reflected(symbol);
        let mut reflection = self.reflection();
        let asked = timeout(self.within(REFLECTION), reflection.describe(&symbol)).await;
        let described = match asked.unwrap_or_else(|_| Err(late())) {
            Ok(described) => described,
            Err(Unknown::NotFound(said)) => {
                let listed = timeout(self.within(REFLECTION), reflection.services()).await;
                let there = match listed {
                    Ok(Ok(names)) if names.len() <= 20 => {
                        format!("; its services are {}", names.join(", "))
                    }
                    _ => "; `list` shows its services".into(),
                };
                return Err(CliError::Failed(format!(
                    "the server's reflection knows no {:?}: {said}{there}",
                    printable(&symbol)
                )));
            }
            Err(why) => return Err(self.unknown(why)),
        };
        let version = described.version;
        let schema = Schema::of_reflection(described, &symbol).map_err(CliError::Failed)?;
        let files = counted(schema.files(), "file");
        let text = format!("{version}, {files} for {symbol}");
        self.journal.step("reflection", &text);
        Ok(schema)
    }

    /// What is known with these messages besides, as far as the server's reflection has them.
    pub(super) async fn learn(&self, mut schema: Schema, messages: &BTreeSet<String>) -> Schema {
        if self.plan.descriptors.is_some() {
            return schema;
        }
        let mut reflection = self.reflection();
        let asked = async {
            for name in messages {
                // What is not there is told by whoever needs it.
                if schema.files() < FILES
                    && !schema.has_message(name)
                    && let Ok(described) = reflection.describe(name).await
                    && let Ok(more) = schema.with(described)
                {
                    self.journal.step("reflection", &format!("{name}, which stands in an Any"));
                    schema = more;
                }
            }
        };
        let _ = timeout(self.within(REFLECTION), asked).await;
        schema
    }

    /// The message, read with what can be learnt of the messages in its `Any`s.
    pub(super) async fn known(
        &self,
        mut schema: Schema,
        mut message: DynamicMessage,
    ) -> (Schema, DynamicMessage) {
        // What is learnt may hold what is not known either.
        for _ in 0..DEEPEST {
            let unknown = Inside::of(&message).unknown;
            if unknown.is_empty() {
                break;
            }
            schema = self.learn(schema, &unknown).await;
            if !unknown.iter().any(|name| schema.has_message(name)) {
                break;
            }
            message = schema.read_again(&message);
        }
        (schema, message)
    }

    fn unknown(&self, why: Unknown) -> CliError {
        CliError::Failed(match why {
            Unknown::NoReflection => format!(
                "the server at {} has no reflection, so its methods are not known here: give them \
                 with --descriptors FILE, as `protoc --descriptor_set_out --include_imports` or \
                 `buf build -o` writes it",
                self.config().target()
            ),
            Unknown::NotFound(said) | Unknown::Failed(said) => said,
        })
    }
}

/// A symbol as reflection names it: with dots only.
fn reflected(symbol: &str) -> String {
    let symbol = symbol.trim_start_matches(['.', '/']);
    match symbol.contains('/').then(|| symbol.parse::<MethodName>()) {
        Some(Ok(MethodName { service, method })) => format!("{service}.{method}"),
        _ => symbol.to_owned(),
    }
}

fn late() -> Unknown {
    Unknown::Failed("the server's reflection did not answer in time".into())
}
