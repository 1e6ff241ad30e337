//! Prints the public items in the rustdoc JSON file that the argument names, one a line.

use public_api::Builder;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(json) = std::env::args().nth(1) else {
        eprintln!("usage: public-api-list RUSTDOC_JSON");
        return ExitCode::FAILURE;
    };
    // Left out: what every type has (`Send`, `From<T> for T`), and the items of derives.
    let api = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build();
    match api {
        Ok(api) => {
            api.items().for_each(|item| println!("{item}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
