//! `token`: makes a bearer token, prints it once, and what to write into the file of `serve
//! --auth`.

use crate::{CliError, stdout::Stdout};
use rand::{TryRng as _, rngs::SysRng};
use serde_json::json;
use tonic_supervisor::agent_queue::server::{Grants, Token};

#[derive(Debug, clap::Args)]
pub(crate) struct TokenArguments {
    /// The identity's name; without grants it may use the queue of the same name.
    name: String,
}

/// Prints a token of 256 random bits from the system, and its lines for the file.
pub(crate) fn run(arguments: &TokenArguments, json: bool) -> Result<(), CliError> {
    let mut bits = [0; 32];
    SysRng
        .try_fill_bytes(&mut bits)
        .map_err(CliError::failed("the system has no random numbers"))?;
    let (name, token) = (&arguments.name, Token::new(bits));
    let hash = token.hash().hexadecimal();
    // A JSON text is a YAML text.
    let lines = format!("    - name: {}\n      token_sha256: \"{hash}\"", json!(name));
    // What is printed can be read.
    Grants::parse("token", &format!("auth:\n  identities:\n{lines}\n")).map_err(|_| {
        CliError::Usage(
            "NAME must have 1 to 256 bytes, without control characters or spaces around it".into(),
        )
    })?;
    let text = match json {
        true => {
            json!({ "kind": "token", "name": name, "token": token.reveal(), "token_sha256": hash })
                .to_string()
        }
        false => format!(
            "{}\n\n# The line above is the token. It is shown this once: keep it in a file that \
             only its user can read\n# (grpc.credentials.token_file). For the file of serve \
             --auth:\nauth:\n  identities:\n{lines}",
            token.reveal()
        ),
    };
    Stdout::new().line(&text);
    Ok(())
}
