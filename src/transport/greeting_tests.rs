//! First bytes, right and wrong, however they are cut.

use super::*;

/// What is checked of `bytes`, cut into pieces of `size`, and after how many.
fn check(expected: Expected, bytes: &[u8], size: usize) -> (FirstBytes, usize) {
    let mut greeting = Greeting::new(expected);
    let mut read = 0;
    for piece in bytes.chunks(size) {
        read += piece.len();
        match greeting.check(piece) {
            FirstBytes::More => {}
            decided => return (decided, read),
        }
    }
    (FirstBytes::More, read)
}

const EMPTY: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const ONE: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";
const ACKNOWLEDGED: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";

#[test]
fn settings_are_right_however_they_are_cut() {
    let first_an_acknowledgement = [ACKNOWLEDGED, ACKNOWLEDGED, ONE].concat();
    // Unknown flags and the reserved bit mean nothing.
    let odd: &[u8] = b"\0\0\0\x04\xfe\x80\0\0\0";
    for (greeting, needed) in [(EMPTY, 9), (ONE, 9), (odd, 9), (&first_an_acknowledgement, 27)] {
        for size in 1..=greeting.len() {
            let (checked, read) = check(Expected::Settings, greeting, size);
            assert_eq!(checked, FirstBytes::Right, "{greeting:?} in pieces of {size}");
            assert!(read < needed + size);
        }
        assert_eq!(
            check(Expected::Settings, &greeting[..needed - 1], 1).0,
            FirstBytes::More,
            "{greeting:?}"
        );
    }
}

#[test]
fn what_cannot_begin_settings_is_wrong_with_its_first_wrong_byte() {
    for (bytes, wrong_at, words) in [
        // A frame too long, one whose length is not a multiple of six, on a stream, an
        // acknowledgement with a payload.
        (&b"\x01\0\0\x04\0\0\0\0\0"[..], 1_usize, "its first bytes are \"\\x01"),
        (b"\0\x40\x06\x04\0\0\0\0\0", 3, "its first bytes are"),
        (b"\0\0\x05\x04\0\0\0\0\0", 3, "its first bytes are"),
        (b"\0\0\x06\x04\0\0\0\0\x01", 9, "its first bytes are"),
        (b"\0\0\x06\x04\x01\0\0\0\0", 5, "its first bytes are"),
        (b"\0\0\x06\x06\0\0\0\0\0is it me", 4, "its first frame is PING instead of SETTINGS"),
        (b"\0\0\x0c\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0bbusy", 4, "its first frame is GOAWAY"),
        (b"\0\0\x06\x0c\0\0\0\0\0", 4, "its first bytes are"),
        (b"\xff\xff\xff\xff", 1, "its first bytes are \"\\xff"),
        (b"ZZZ\x1b[2J", 1, "its first bytes are \"Z"),
    ] {
        for size in 1..=bytes.len() {
            let (checked, read) = check(Expected::Settings, bytes, size);
            let FirstBytes::Wrong(said) = checked else {
                panic!("{bytes:?} in pieces of {size}: {checked:?}")
            };
            assert!(said.contains(words), "{bytes:?}: {said}");
            assert!(!said.contains(char::is_control) && said.len() < 200, "{said}");
            assert_eq!(
                read,
                wrong_at.next_multiple_of(size).min(bytes.len()),
                "{bytes:?} in pieces of {size}"
            );
        }
        assert_eq!(
            check(Expected::Settings, &bytes[..wrong_at - 1], 1).0,
            FirstBytes::More,
            "{bytes:?}"
        );
    }
    let goaway = b"\0\0\x0c\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0bbusy";
    let FirstBytes::Wrong(said) = check(Expected::Settings, goaway, goaway.len()).0 else {
        panic!("it is wrong")
    };
    assert_eq!(said, "its first frame is GOAWAY ENHANCE_YOUR_CALM instead of SETTINGS");
}

#[test]
fn other_protocols_are_recognised_by_what_they_say_first() {
    let tls = "this looks like a TLS server: use https:// or use_tls";
    let http1 = "this looks like an HTTP/1 server, and gRPC needs HTTP/2";
    let text = "this looks like a mail or FTP server";
    for (greeting, words) in [
        (&b"\x15\x03\x01\0\x02\x02\x46"[..], tls),
        (b"\x15\x03\x03\0\x02\x02\x28", tls),
        (b"\x16\x03\x03\0\x7a\x02\0\0\x76\x03\x03", tls),
        (b"HTTP/1.1 400 Bad Request\r\n", http1),
        (b"HTTP/1.0 505 HTTP Version Not Supported\r\n", http1),
        (b"<!DOCTYPE HTML>\n<html>", http1),
        (b"<html><head>", http1),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "this looks like an SSH server: is the port right?"),
        (b"220 mail.example ESMTP ready\r\n", text),
        (b"220-ftp.example\r\n", text),
        (b"554 no service\r\n", text),
        (b"+OK POP3 ready\r\n", "this looks like a mail server"),
        (b"* OK IMAP4rev1 ready\r\n", "this looks like a mail server"),
        (b"-ERR unknown command 'PRI'\r\n", "this looks like a Redis or mail server"),
    ] {
        for size in 1..=greeting.len() {
            let (checked, read) = check(Expected::Settings, greeting, size);
            let FirstBytes::Wrong(said) = checked else {
                panic!("{greeting:?} in pieces of {size}: {checked:?}")
            };
            assert!(said.contains(words), "{greeting:?} in pieces of {size}: {said}");
            assert_eq!(read, size, "the first byte is wrong");
        }
    }
    let (checked, _) = check(Expected::Settings, b"2x0 what is this", 9);
    assert!(matches!(checked, FirstBytes::Wrong(wrong) if wrong.contains("2x0")));
}

#[cfg(feature = "tls")]
#[test]
fn where_tls_is_expected_a_plaintext_server_is_recognised() {
    let plain = "this looks like a plaintext server: use http:// or use_tls: false";
    for (greeting, words) in [
        (EMPTY, plain),
        (ONE, plain),
        (ACKNOWLEDGED, plain),
        (b"HTTP/1.1 400 Bad Request\r\n", plain),
        (b"220 mail.example ESMTP ready\r\n", "this looks like a mail or FTP server"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "this looks like an SSH server"),
        (b"\xff\xff\xff", "its first bytes are"),
    ] {
        for size in 1..=greeting.len() {
            let (checked, read) = check(Expected::Tls, greeting, size);
            let FirstBytes::Wrong(said) = checked else {
                panic!("{greeting:?} in pieces of {size}: {checked:?}")
            };
            assert!(
                said.contains(words) && said.contains("does not speak TLS on this port"),
                "{said}"
            );
            assert_eq!(read, size);
        }
    }
    for greeting in [&b"\x15\x03\x01\0\x02\x02\x46"[..], b"\x16\x03\x03\0\x7a\x02"] {
        assert_eq!(check(Expected::Tls, greeting, 1), (FirstBytes::Right, 2));
    }
}

#[cfg(feature = "tls")]
#[test]
fn inside_tls_nobody_is_told_to_use_tls() {
    for greeting in [&b"\x15\x03\x01\0\x02\x02\x46"[..], b"HTTP/1.1 400 Bad Request\r\n"] {
        let FirstBytes::Wrong(said) = check(Expected::SettingsInTls, greeting, 7).0 else {
            panic!("it is wrong")
        };
        assert!(said.starts_with("this looks like") && !said.contains("use_tls"), "{said}");
    }
    assert_eq!(check(Expected::SettingsInTls, ONE, 4).0, FirstBytes::Right);
}
