//! A handler that panics has met a mistake of ours: its client is told so, and no other client notices.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use hyper::StatusCode;

use crate::api::reply::{Answer, Failure};

/// What `handler` answers, or 500 when it panics; where, stands in the host's log already.
pub(crate) async fn contained(handler: impl Future<Output = Answer>) -> Answer {
    // What it left half done is behind locks that mind (`PoisonError::into_inner` where every statement leaves them whole).
    AssertUnwindSafe(handler).catch_unwind().await.unwrap_or_else(|_| {
        let message = "the host failed at this request by a mistake of its own; its log tells where".to_owned();
        Err(Failure { status: StatusCode::INTERNAL_SERVER_ERROR, message })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::reply::done;

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let failure = contained(async { panic!("a mistake") }).await.unwrap_err();
        assert_eq!(failure.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(failure.message.contains("a mistake of its own"), "{}", failure.message);
        // One that came from a task of its own, as most handlers have.
        let failure = contained(async {
            let task = tokio::spawn(async { panic!("far away") });
            crate::api::containers::joined::<()>(task).await?;
            done()
        });
        assert_eq!(failure.await.unwrap_err().status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(contained(async { done() }).await.unwrap().status(), StatusCode::NO_CONTENT);
    }
}
