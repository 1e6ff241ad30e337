//! The token file: when it is read, and what becomes of a bad one. Time is paused; files are real.

use super::*;
use std::time::Duration;
use tokio::time::advance;

struct Place {
    folder: tempfile::TempDir,
    file: TokenFile,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = TokenFile::new(&folder.path().join("token"));
        Self { folder, file }
    }

    /// Writes beside and renames; two texts of one length have other times, also on a coarse clock.
    fn write(&self, text: &str, second: u64) {
        let (new, path) = (self.folder.path().join("new"), self.folder.path().join("token"));
        fs::write(&new, text).expect("written");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        fs::File::options()
            .write(true)
            .open(&new)
            .and_then(|file| file.set_modified(time))
            .expect("stamped");
        fs::rename(new, path).expect("renamed");
    }

    async fn sent(&self) -> Result<String, Status> {
        let metadata = self.file.clone().metadata().await?;
        let value = metadata.get("authorization").expect("a header");
        assert!(value.is_sensitive());
        Ok(value.to_str().expect("ASCII").to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_read_again_after_a_second_and_not_sooner() {
    let place = Place::new();
    place.write("one\n", 1);
    assert_eq!(place.sent().await.expect("a token"), "Bearer one");
    place.write("two", 2);
    advance(Duration::from_millis(999)).await;
    assert_eq!(place.sent().await.expect("a token"), "Bearer one");
    advance(Duration::from_millis(1)).await;
    assert_eq!(place.sent().await.expect("a token"), "Bearer two");
    // The same time and length: nobody has changed it.
    place.write("six", 2);
    advance(Duration::from_secs(2)).await;
    assert_eq!(place.sent().await.expect("a token"), "Bearer two");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_used_leaves_the_former_token_and_without_one_is_unavailable() {
    let place = Place::new();
    let missing = place.sent().await.expect_err("no file");
    assert_eq!(missing.code(), tonic::Code::Unavailable);
    assert!(missing.message().contains("grpc.credentials.token_file) cannot be read"), "{missing}");
    place.write("one", 1);
    assert!(place.sent().await.is_err(), "it is looked at once a second at most");
    advance(LOOK_EVERY).await;
    assert_eq!(place.sent().await.expect("a token"), "Bearer one");
    for (second, bad) in ["", " \n", "two words", "t\u{e9}", "a\nb"].into_iter().enumerate() {
        place.write(bad, 10 + second as u64);
        advance(LOOK_EVERY).await;
        assert_eq!(place.sent().await.expect("the former"), "Bearer one", "{bad:?}");
        let trouble = place.file.0.kept.lock().trouble.clone().expect("a reason");
        assert!(trouble.contains("must have") && !trouble.contains("two"), "{trouble}");
    }
    place.write(&"x".repeat(64 << 10), 20);
    advance(LOOK_EVERY).await;
    assert_eq!(place.sent().await.expect("a token").len(), 7 + (64 << 10));
    place.write(&"y".repeat((64 << 10) + 1), 21);
    advance(LOOK_EVERY).await;
    assert!(place.sent().await.expect("the former").ends_with('x'));
}

#[tokio::test(start_paused = true)]
async fn calls_that_come_together_wait_for_one_look() {
    let place = Place::new();
    place.write("one", 1);
    let sent = futures::future::join_all((0..100).map(|_| place.sent())).await;
    assert!(sent.into_iter().all(|sent| sent.expect("a token") == "Bearer one"));
    place.write("two", 2);
    advance(LOOK_EVERY).await;
    let sent = futures::future::join_all((0..100).map(|_| place.sent())).await;
    let sent: Vec<String> = sent.into_iter().map(|sent| sent.expect("a token")).collect();
    // One of them looks and has what it found. The others go on with what there is, which is the
    // new token as soon as the look is over.
    assert!(sent.contains(&"Bearer two".to_owned()), "{sent:?}");
    assert!(sent.iter().all(|sent| ["Bearer one", "Bearer two"].contains(&&**sent)), "{sent:?}");
    assert_eq!(place.sent().await.expect("a token"), "Bearer two");
}
