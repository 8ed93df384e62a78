//! Lists that take seconds to make, such as the packages of an installation. A list is made once for
//! everybody who asks at the same time, is used for a while, and says how old it is. Making goes on when
//! its askers have left, for the next one; what hangs is ended after [`LISTING_TIME`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use protocol::ids::Digest;
use protocol::units::Seconds;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::provider::{Answer, ProviderError};

/// Within this time the last list is used as it is.
pub const FRESH: Duration = Duration::from_secs(60);
/// Within this time it is used while a new one is made.
pub const USABLE: Duration = Duration::from_secs(600);
/// How long a list may take to make.
pub const LISTING_TIME: Duration = Duration::from_secs(60);
/// How long nobody tries again what has just failed.
pub const RETRY: Duration = Duration::from_secs(5);

/// A list and where it came from.
#[derive(Debug)]
pub struct Listed<T> {
    /// The list.
    pub value: T,
    source: String,
    digest: Digest,
    problems: Vec<String>,
    at: Instant,
}

impl<T> Listed<T> {
    /// A list that was made just now of these raw bytes.
    #[must_use]
    pub fn new(value: T, source: impl Into<String>, raw: &[u8]) -> Self {
        Self {
            value,
            source: source.into(),
            digest: Digest::of(raw),
            problems: Vec::new(),
            at: Instant::now(),
        }
    }

    /// The same list with what could not be had of it.
    #[must_use]
    pub fn with_problems(self, problems: Vec<String>) -> Self {
        Self { problems, ..self }
    }

    /// An answer that was picked from this list, as old as the list.
    #[must_use]
    pub fn answer(&self, value: Value) -> Answer {
        Answer {
            value,
            source: self.source.clone(),
            digest: self.digest.clone(),
            age: Seconds::saturating(self.at.elapsed().as_secs_f64()),
            problems: self.problems.clone(),
        }
    }
}

/// How a list is made.
#[async_trait]
pub trait Lister: Send + Sync + 'static {
    /// The list.
    type List: Send + Sync + 'static;

    /// What is asked, for messages.
    fn what(&self) -> &'static str;

    /// Makes the list.
    async fn list(&self, deadline: Instant) -> Result<Listed<Self::List>, ProviderError>;
}

struct State<T> {
    last: Option<Arc<Listed<T>>>,
    failed: Option<(Instant, Arc<ProviderError>)>,
    /// Ends when the list that is being made is there, or its making has failed.
    making: Option<watch::Receiver<()>>,
}

impl<T> State<T> {
    fn younger_than(&self, limit: Duration) -> Option<Arc<Listed<T>>> {
        self.last.clone().filter(|listed| listed.at.elapsed() < limit)
    }

    fn recent_failure(&self) -> Option<ProviderError> {
        let (at, error) = self.failed.as_ref()?;
        (at.elapsed() < RETRY).then(|| ProviderError::Shared(Arc::clone(error)))
    }
}

struct Inner<L: Lister> {
    lister: L,
    state: Mutex<State<L::List>>,
}

impl<L: Lister> Inner<L> {
    fn state(&self) -> MutexGuard<'_, State<L::List>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(&self) {
        let result = self.lister.list(Instant::now() + LISTING_TIME).await;
        let mut state = self.state();
        match result {
            Ok(listed) => {
                state.last = Some(Arc::new(listed));
                state.failed = None;
            }
            Err(error) => state.failed = Some((Instant::now(), Arc::new(error))),
        }
    }
}

/// A list that is kept.
pub struct Listing<L: Lister> {
    inner: Arc<Inner<L>>,
}

impl<L: Lister> Listing<L> {
    /// A list that nobody has made yet.
    #[must_use]
    pub fn new(lister: L) -> Self {
        let state = Mutex::new(State { last: None, failed: None, making: None });
        Self { inner: Arc::new(Inner { lister, state }) }
    }

    /// What makes the list.
    #[must_use]
    pub fn lister(&self) -> &L {
        &self.inner.lister
    }

    /// Begins to make the list, so that the first asker finds it made, or nearly.
    pub fn start(&self) {
        let mut state = self.inner.state();
        if state.younger_than(FRESH).is_none() {
            self.making(&mut state);
        }
    }

    /// The end of the making in progress, which begins now if there is none.
    fn making(&self, state: &mut State<L::List>) -> watch::Receiver<()> {
        // A maker that failed in a way that was not foreseen leaves a closed channel behind.
        if let Some(making) = state.making.as_ref().filter(|making| making.has_changed().is_ok()) {
            return making.clone();
        }
        let (end, making) = watch::channel(());
        state.making = Some(making.clone());
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            inner.make().await;
            drop(end);
        });
        making
    }

    /// The list: the last one while it is young enough, else the one that is being made, if it comes
    /// before the deadline.
    pub async fn get(&self, deadline: Instant) -> Result<Arc<Listed<L::List>>, ProviderError> {
        let mut making = {
            let mut state = self.inner.state();
            if let Some(listed) = state.younger_than(FRESH) {
                return Ok(listed);
            }
            let usable = state.younger_than(USABLE);
            if let Some(failure) = state.recent_failure() {
                return usable.ok_or(failure);
            }
            let making = self.making(&mut state);
            if let Some(listed) = usable {
                return Ok(listed);
            }
            making
        };
        let what = self.inner.lister.what();
        if timeout_at(deadline, making.changed()).await.is_err() {
            return Err(ProviderError::Timeout(what.to_owned()));
        }
        let state = self.inner.state();
        let failure = || {
            state.recent_failure().unwrap_or_else(|| ProviderError::NotUnderstood {
                what: what.to_owned(),
                problem: "listing failed in a way that was not foreseen".to_owned(),
            })
        };
        state.younger_than(FRESH).ok_or_else(failure)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Makes a list of how often it was asked, when it may; fails on demand.
    struct Counter {
        asked: AtomicUsize,
        gate: Semaphore,
        fails: std::sync::atomic::AtomicBool,
    }

    #[async_trait]
    impl Lister for Arc<Counter> {
        type List = usize;

        fn what(&self) -> &'static str {
            "counter"
        }

        async fn list(&self, deadline: Instant) -> Result<Listed<usize>, ProviderError> {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            match timeout_at(deadline, self.gate.acquire()).await {
                Ok(permit) => permit.unwrap().forget(),
                Err(_) => return Err(ProviderError::Timeout("counter".to_owned())),
            }
            if self.fails.load(Ordering::SeqCst) {
                return Err(ProviderError::not_found("counter"));
            }
            Ok(Listed::new(asked, "counter", &asked.to_le_bytes()))
        }
    }

    fn counter(permits: usize) -> Arc<Counter> {
        Arc::new(Counter {
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(permits),
            fails: std::sync::atomic::AtomicBool::new(false),
        })
    }

    fn within(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_made_once_for_all_who_ask_and_says_its_age() {
        let counter = counter(1);
        let listing = Listing::new(Arc::clone(&counter));
        let (one, other) = tokio::join!(listing.get(within(9)), listing.get(within(9)));
        assert_eq!((one.unwrap().value, other.unwrap().value), (1, 1));
        tokio::time::advance(FRESH - Duration::from_secs(1)).await;
        let answer = listing.get(within(9)).await.unwrap().answer(Value::Null);
        assert!((58.0..61.0).contains(&answer.age.get()), "{}", answer.age.get());
        assert_eq!(counter.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_list_is_used_while_the_next_is_made_and_a_very_old_one_is_not() {
        let counter = counter(1);
        let listing = Listing::new(Arc::clone(&counter));
        assert_eq!(listing.get(within(9)).await.unwrap().value, 1);
        tokio::time::advance(FRESH + Duration::from_secs(1)).await;
        assert_eq!(listing.get(within(9)).await.unwrap().value, 1);
        counter.gate.add_permits(1);
        while counter.gate.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        assert_eq!(listing.get(within(9)).await.unwrap().value, 2);
        tokio::time::advance(USABLE + Duration::from_secs(1)).await;
        assert!(matches!(listing.get(within(2)).await, Err(ProviderError::Timeout(_))));
        assert_eq!(counter.asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hung_tool_is_asked_once_however_many_wait_for_it() {
        let counter = counter(0);
        let listing = Listing::new(Arc::clone(&counter));
        for _ in 0..5 {
            let asked = Instant::now();
            assert!(matches!(listing.get(within(3)).await, Err(ProviderError::Timeout(_))));
            assert_eq!(asked.elapsed(), Duration::from_secs(3));
        }
        assert_eq!(counter.asked.load(Ordering::SeqCst), 1);
        // After its own time it is given up, and for a while nobody tries again.
        tokio::time::advance(LISTING_TIME).await;
        assert!(listing.get(within(3)).await.is_err());
        assert!(counter.asked.load(Ordering::SeqCst) <= 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_to_all_and_tried_again_later() {
        let counter = counter(8);
        counter.fails.store(true, Ordering::SeqCst);
        let listing = Listing::new(Arc::clone(&counter));
        for _ in 0..3 {
            let failed = listing.get(within(3)).await.err().unwrap();
            assert_eq!(failed.in_full(), "counter failed: it is not on the search path");
        }
        assert_eq!(counter.asked.load(Ordering::SeqCst), 1);
        counter.fails.store(false, Ordering::SeqCst);
        tokio::time::advance(RETRY).await;
        assert_eq!(listing.get(within(3)).await.unwrap().value, 2);
    }
}
