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

/// Tells the time, by which lists age.
pub type Now = Arc<dyn Fn() -> Instant + Send + Sync>;

/// A list and where it came from.
#[derive(Debug)]
pub struct Listed<T> {
    value: T,
    source: String,
    digest: Digest,
    problems: Vec<String>,
}

impl<T> Listed<T> {
    /// A list that was made just now of these raw bytes.
    #[must_use]
    pub fn new(value: T, source: impl Into<String>, raw: &[u8]) -> Self {
        Self { value, source: source.into(), digest: Digest::of(raw), problems: Vec::new() }
    }

    /// The same list with what could not be had of it.
    #[must_use]
    pub fn with_problems(self, problems: Vec<String>) -> Self {
        Self { problems, ..self }
    }
}

/// A list that somebody gets, as old as it is.
#[derive(Debug)]
pub struct Kept<T> {
    listed: Arc<Listed<T>>,
    age: Duration,
}

impl<T> Kept<T> {
    /// The list.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.listed.value
    }

    /// An answer that was picked from this list, as old as the list.
    #[must_use]
    pub fn answer(&self, value: Value) -> Answer {
        Answer {
            value,
            source: self.listed.source.clone(),
            digest: self.listed.digest.clone(),
            age: Seconds::saturating(self.age.as_secs_f64()),
            problems: self.listed.problems.clone(),
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
    last: Option<(Instant, Arc<Listed<T>>)>,
    failed: Option<(Instant, Arc<ProviderError>)>,
    /// Ends when the list that is being made is there, or its making has failed.
    making: Option<watch::Receiver<()>>,
}

impl<T> State<T> {
    fn younger_than(&self, limit: Duration, now: Instant) -> Option<Kept<T>> {
        let (at, listed) = self.last.as_ref()?;
        let age = now.saturating_duration_since(*at);
        (age < limit).then(|| Kept { listed: Arc::clone(listed), age })
    }

    fn recent_failure(&self, now: Instant) -> Option<ProviderError> {
        let (at, error) = self.failed.as_ref()?;
        (now.saturating_duration_since(*at) < RETRY).then(|| ProviderError::Shared(Arc::clone(error)))
    }
}

struct Inner<L: Lister> {
    lister: L,
    now: Now,
    state: Mutex<State<L::List>>,
}

impl<L: Lister> Inner<L> {
    fn state(&self) -> MutexGuard<'_, State<L::List>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(&self) {
        let result = self.lister.list(Instant::now() + LISTING_TIME).await;
        let mut state = self.state();
        let now = (self.now)();
        match result {
            Ok(listed) => {
                state.last = Some((now, Arc::new(listed)));
                state.failed = None;
            }
            Err(error) => state.failed = Some((now, Arc::new(error))),
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
        Self::with_clock(lister, Arc::new(Instant::now))
    }

    /// The same, ageing by this clock.
    #[must_use]
    pub fn with_clock(lister: L, now: Now) -> Self {
        let state = Mutex::new(State { last: None, failed: None, making: None });
        Self { inner: Arc::new(Inner { lister, now, state }) }
    }

    /// What makes the list.
    #[must_use]
    pub fn lister(&self) -> &L {
        &self.inner.lister
    }

    /// Begins to make the list, so that the first asker finds it made, or nearly.
    pub fn start(&self) {
        let mut state = self.inner.state();
        if state.younger_than(FRESH, (self.inner.now)()).is_none() {
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
    pub async fn get(&self, deadline: Instant) -> Result<Kept<L::List>, ProviderError> {
        let now = || (self.inner.now)();
        let mut making = {
            let mut state = self.inner.state();
            if let Some(kept) = state.younger_than(FRESH, now()) {
                return Ok(kept);
            }
            let usable = state.younger_than(USABLE, now());
            if let Some(failure) = state.recent_failure(now()) {
                return usable.ok_or(failure);
            }
            let making = self.making(&mut state);
            if let Some(kept) = usable {
                return Ok(kept);
            }
            making
        };
        let what = self.inner.lister.what();
        if timeout_at(deadline, making.changed()).await.is_err() {
            return Err(ProviderError::Timeout(what.to_owned()));
        }
        let state = self.inner.state();
        let failure = || {
            state.recent_failure(now()).unwrap_or_else(|| ProviderError::NotUnderstood {
                what: what.to_owned(),
                problem: "listing failed in a way that was not foreseen".to_owned(),
            })
        };
        state.younger_than(FRESH, now()).ok_or_else(failure)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Makes a list of how often it was asked, when it may; fails on demand. Its clock moves by hand.
    #[derive(Clone)]
    struct Counter {
        asked: Arc<AtomicUsize>,
        gate: Arc<Semaphore>,
        fails: Arc<AtomicBool>,
        passed: Arc<AtomicU64>,
    }

    #[async_trait]
    impl Lister for Counter {
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

    impl Counter {
        fn new(permits: usize) -> (Self, Listing<Self>) {
            let counter = Self {
                asked: Arc::default(),
                gate: Arc::new(Semaphore::new(permits)),
                fails: Arc::default(),
                passed: Arc::default(),
            };
            let passed = Arc::clone(&counter.passed);
            let now = move || Instant::now() + Duration::from_secs(passed.load(Ordering::SeqCst));
            (counter.clone(), Listing::with_clock(counter, Arc::new(now)))
        }

        fn pass(&self, time: Duration) {
            self.passed.fetch_add(time.as_secs(), Ordering::SeqCst);
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(30)
    }

    #[tokio::test]
    async fn a_list_is_made_once_for_all_who_ask_and_says_its_age() {
        let (counter, listing) = Counter::new(1);
        let (one, other) = tokio::join!(listing.get(far()), listing.get(far()));
        assert_eq!((*one.unwrap().value(), *other.unwrap().value()), (1, 1));
        counter.pass(Duration::from_secs(50));
        let answer = listing.get(far()).await.unwrap().answer(Value::Null);
        assert!((50.0..55.0).contains(&answer.age.get()), "{}", answer.age.get());
        assert_eq!(counter.asked(), 1);
    }

    #[tokio::test]
    async fn an_older_list_is_used_while_the_next_is_made_and_a_very_old_one_is_not() {
        let (counter, listing) = Counter::new(1);
        assert_eq!(*listing.get(far()).await.unwrap().value(), 1);
        counter.pass(FRESH);
        assert_eq!(*listing.get(far()).await.unwrap().value(), 1);
        counter.gate.add_permits(1);
        // The next one comes when its maker has had its turn.
        while *listing.get(far()).await.unwrap().value() == 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*listing.get(far()).await.unwrap().value(), 2);
        counter.pass(USABLE);
        assert!(matches!(listing.get(soon()).await, Err(ProviderError::Timeout(_))));
        assert_eq!(counter.asked(), 3);
    }

    #[tokio::test]
    async fn a_hung_tool_is_asked_once_however_many_wait_for_it() {
        let (counter, listing) = Counter::new(0);
        for _ in 0..5 {
            let asked = Instant::now();
            assert!(matches!(listing.get(soon()).await, Err(ProviderError::Timeout(_))));
            assert!(asked.elapsed() < Duration::from_secs(5));
        }
        assert_eq!(counter.asked(), 1);
        // When it answers at last, it answers for the next one who asks.
        counter.gate.add_permits(1);
        assert_eq!(*listing.get(far()).await.unwrap().value(), 1);
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_and_tried_again_later() {
        let (counter, listing) = Counter::new(8);
        counter.fails.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            let failed = listing.get(far()).await.err().unwrap();
            assert_eq!(failed.in_full(), "counter failed: it is not on the search path");
        }
        assert_eq!(counter.asked(), 1);
        counter.fails.store(false, Ordering::SeqCst);
        counter.pass(RETRY);
        assert_eq!(*listing.get(far()).await.unwrap().value(), 2);
    }
}
