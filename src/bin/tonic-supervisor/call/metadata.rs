//! `-H 'name: value'`: what a call sends along. Values may be secrets, so no error repeats one.

use tonic::metadata::MetadataMap;

/// What gRPC and HTTP/2 say themselves.
const RESERVED: [&str; 8] = [
    "te",
    "content-type",
    "connection",
    "host",
    "transfer-encoding",
    "upgrade",
    "keep-alive",
    "proxy-connection",
];

/// Reads all of them; a name may come more than once. The error is a sentence.
pub(super) fn read(lines: &[String]) -> Result<MetadataMap, String> {
    let mut headers = http::HeaderMap::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Err("-H must be 'name: value'; there is no colon in one of them".into());
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if name.is_empty() {
            return Err("-H must be 'name: value'; one has no name before its colon".into());
        }
        if name.starts_with("grpc-") || RESERVED.contains(&&*name) {
            return Err(format!(
                "-H {name}: this header is gRPC's own{}",
                if name == "grpc-timeout" { "; use --timeout" } else { "" }
            ));
        }
        let key: http::HeaderName = name.parse().map_err(|_| {
            format!("-H {name}: a name has letters, digits, `-`, `_` and `.`, and nothing else")
        })?;
        let value = Some(value).filter(|value| value.is_ascii()).map(http::HeaderValue::from_str);
        let value = value.and_then(Result::ok).ok_or_else(|| {
            format!(
                "-H {name}: a value is ASCII text; other bytes go into a name that ends in -bin, \
                     in base64"
            )
        })?;
        headers.append(key, value);
    }
    let metadata = MetadataMap::from_headers(headers);
    for pair in metadata.iter() {
        if let tonic::metadata::KeyAndValueRef::Binary(name, value) = pair
            && value.to_bytes().is_err()
        {
            return Err(format!("-H {name}: the value of a name that ends in -bin is base64"));
        }
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(lines: &[&str]) -> Result<MetadataMap, String> {
        read(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_may_come_twice_and_binary_values_are_base64() {
        let read = read_all(&["X-Tenant: a", "x-tenant:b ", "trace-bin: AAEC/w==", "b-bin: AAE"]);
        let read = read.expect("they are good");
        let tenants: Vec<_> = read.get_all("x-tenant").iter().collect();
        assert_eq!(tenants, ["a", "b"]);
        let trace = read.get_bin("trace-bin").expect("there");
        assert_eq!(trace.to_bytes().expect("base64"), &[0, 1, 2, 255][..]);
        assert!(read.get_bin("b-bin").is_some_and(|value| value.to_bytes().is_ok()));
    }

    #[test]
    fn a_value_that_is_refused_is_not_repeated() {
        for (line, part) in [
            ("hunter2", "no colon"),
            (": hunter2", "no name"),
            ("grpc-timeout: hunter2", "--timeout"),
            ("TE: hunter2", "gRPC's own"),
            ("a b: hunter2", "letters, digits"),
            ("a: hunter2\u{e9}", "base64"),
            ("a: hunter2\nb", "base64"),
            ("a-bin: hunter2!", "is base64"),
        ] {
            let error = read_all(&[line]).expect_err(line);
            assert!(error.contains(part) && !error.contains("hunter2"), "{line}: {error}");
        }
    }
}
