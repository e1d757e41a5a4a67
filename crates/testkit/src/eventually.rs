//! Waiting for a condition by asking often: instead of a sleep that is too short on a slow machine and
//! too long on every other.

use std::time::Duration;

use tokio::time::Instant;

/// How long to wait between two questions.
const STEP: Duration = Duration::from_millis(10);

/// Asks `condition` every 10 ms until it gives a value.
///
/// Panics after `timeout` with `what`, which completes the sentence "waited in vain for …". A question
/// that does not return in time counts as no.
pub async fn eventually<T, F, Fut>(what: &str, timeout: Duration, mut condition: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + timeout;
    let mut n_asked = 0_u64;
    loop {
        n_asked += 1;
        match tokio::time::timeout_at(deadline, condition()).await {
            Ok(Some(value)) => return value,
            Ok(None) if Instant::now() < deadline => tokio::time::sleep(STEP).await,
            _ => panic!("waited in vain for {what} ({timeout:?}, asked {n_asked} times)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_asks_until_there_is_an_answer() {
        let mut n = 0;
        let answer = eventually("the third question", Duration::from_secs(1), || {
            n += 1;
            let answer = (n == 3).then_some(n);
            async move { answer }
        })
        .await;
        assert_eq!(answer, 3);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "waited in vain for godot (50ms, asked 6 times)")]
    async fn it_names_what_did_not_come() {
        eventually("godot", Duration::from_millis(50), || async { None::<()> }).await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "waited in vain for an answer")]
    async fn a_question_that_hangs_is_a_no() {
        let hangs = std::future::pending::<Option<()>>;
        eventually("an answer", Duration::from_secs(1), hangs).await;
    }
}
