//! `docs/configuration.md`, what each key means, and `docs/defaults.md`, why it has its default.

use super::unit;
use crate::config::keys::{KEYS, Key, METHOD_ONLY, method_keys, variable};
use std::fmt::Write;

const CONFIGURATION: &str = "\
# Configuration

All keys stand under `grpc:` in a YAML file ([`config/grpc.yaml`](../config/grpc.yaml) shows each
with its default); other sections of the file are left alone. An empty file means defaults.
Authority, from least to most:

1. the defaults below; [why they are what they are](defaults.md);
2. the file: `Config::load(path)`, or `.file(path)` on the builder;
3. the environment: `TONIC_SUPERVISOR_GRPC_` and the key in capitals, `__` between section and key
   (`{VARIABLE}`), commas between the items of a list;
4. the builder: one method per key, named like it, with `_` between section and key
   (`reconnect_max_backoff`).

Times are seconds (`10`, `0.5`) or text such as `250ms` or `1m30s`; sizes are bytes or text such as
`64KiB` or `4MiB`; `none` turns off what may be off. What is wrong is reported all at once, in the
order of the file, each with its place, key, value and rule, or with what to write instead:

```text
grpc.yaml:4:3: grpc.max_backoff is 0.5, but must not be below grpc.initial_backoff, \
which is 1.0 (default)
grpc.yaml:6:7: grpc.retryable_status_codes has \"UNAVAILABEL\", which is not a gRPC status code; \
did you mean `UNAVAILABLE`?
grpc.yaml:7:3: grpc.ca_cert is not a key that is known; write `tls: {ca: \"ca.pem\"}`
```

What is allowed but probably not meant is a warning: see `Config::warnings`; the supervisor logs
them when it starts. What is worth knowing when a file is written is a note (`Config::notes`), which
only `check-config` prints.

| command | what it does |
|---|---|
| `tonic-supervisor check-config grpc.yaml` | prints problems, warnings and notes, and looks at the files that `tls` names; exit code 3 if something is wrong, or if the file has no section `grpc` |
| `tonic-supervisor check-config --show-effective grpc.yaml` | every key, its value and who said it: `grpc.yaml:4:3`, a variable, or `default`. In code: `Config::effective`, which knows builder methods, too |
| `tonic-supervisor check-config --template` | a file with every key, each behind a `#` |
| `tonic-supervisor check-config --schema` | the JSON Schema of a file, for editors; it is [`config/grpc.schema.json`](../config/grpc.schema.json) |
";

const METHODS: &str = "
## Methods

Rules for some methods stand under `grpc.methods`, named `pkg.Service/Method`, `pkg.Service/*` or
`*`. For each key the narrowest pattern that sets it holds, then the key for all calls. In code:
`.method(pattern, MethodOptions::new()...)`. There are no variables for them.

| key | default | unit | meaning |
|---|---|---|---|
";

const DEFAULTS: &str = "\
# Why the defaults are what they are

What each key means is in [configuration](configuration.md). *Seed* is the retry and reconnect
mechanism that this crate began as: its keys keep their names, values and meaning.

| key | default | reason |
|---|---|---|
";

pub(super) fn configuration() -> String {
    let mut page = CONFIGURATION.replace("{VARIABLE}", &variable("reconnect.max_backoff"));
    let mut group = "";
    for Key { path, group: own_group, default, kind, doc, .. } in KEYS {
        if *own_group != group {
            group = own_group;
            write!(page, "\n## {group}\n\n| key | default | unit | meaning |\n|---|---|---|---|\n")
                .unwrap();
        }
        writeln!(page, "| `{path}` | {} | {} | {} |", codes(default), unit(*kind), doc.trim())
            .unwrap();
    }
    page += METHODS;
    for Key { path, default, kind, doc, for_methods, .. } in method_keys() {
        let (default, doc) = match for_methods {
            true => ("", format!("Overrides `{path}` for this method.")),
            false => (*default, doc.trim().to_owned()),
        };
        let default = if default.is_empty() { "as for all calls".into() } else { codes(default) };
        writeln!(page, "| `{path}` | {default} | {} | {doc} |", unit(*kind)).unwrap();
    }
    page
}

pub(super) fn defaults() -> String {
    let mut page = DEFAULTS.to_owned();
    for Key { path, default, reason, .. } in KEYS {
        writeln!(page, "| `{path}` | {} | {reason} |", codes(default)).unwrap();
    }
    for Key { path, default, reason, .. } in METHOD_ONLY {
        writeln!(page, "| `{path}` (per method) | {} | {reason} |", codes(default)).unwrap();
    }
    page
}

/// A default as code; of a list, each item.
fn codes(default: &str) -> String {
    format!("`{}`", default.replace(", ", "`, `"))
}
