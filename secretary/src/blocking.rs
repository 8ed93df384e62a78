//! Work that may never return, such as `statvfs` on a dead mount, done on threads that can be given up.
//!
//! The threads are plain ones: one that hangs for ever delays neither the asynchronous runtime's end
//! nor the process's. Each thing looked at has a few places; a look that hangs keeps its place, and
//! after two such looks nobody else is sent until one of them comes back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::provider::ProviderError;

/// Looks at one thing that may run at the same time.
const PLACES: usize = 8;
/// Looks at one thing that may hang before it counts as stuck.
const ABANDONED_LIMIT: usize = 2;
/// Things that are remembered.
const THINGS_LIMIT: usize = 1024;

#[derive(Debug)]
struct Thing {
    places: Arc<Semaphore>,
    abandoned: AtomicUsize,
}

/// Runs work that may hang.
#[derive(Debug, Default)]
pub struct Blocking {
    things: Mutex<HashMap<String, Arc<Thing>>>,
}

/// Counts a look as abandoned from the moment nobody waits for it until its thread ends.
struct Watch {
    thing: Arc<Thing>,
    /// 0 running, 1 abandoned, 2 over.
    state: Arc<AtomicUsize>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.state.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.thing.abandoned.fetch_add(1, Ordering::SeqCst);
        }
    }
}

struct Ending {
    thing: Arc<Thing>,
    state: Arc<AtomicUsize>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.state.swap(2, Ordering::SeqCst) == 1 {
            self.thing.abandoned.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Blocking {
    /// Does the work on a thread of its own and waits for it until the deadline.
    pub async fn run<T, F>(&self, what: &str, deadline: Instant, work: F) -> Result<T, ProviderError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let thing = self.thing(what)?;
        if thing.abandoned.load(Ordering::SeqCst) >= ABANDONED_LIMIT {
            return Err(ProviderError::Stuck(what.to_owned()));
        }
        let late = |_| ProviderError::Timeout(what.to_owned());
        let place = timeout_at(deadline, Arc::clone(&thing.places).acquire_owned()).await.map_err(late)?;
        let (sender, receiver) = oneshot::channel();
        let state = Arc::new(AtomicUsize::new(0));
        let ending = Ending { thing: Arc::clone(&thing), state: Arc::clone(&state) };
        std::thread::Builder::new()
            .name("look".to_owned())
            .spawn(move || {
                let _place = place;
                let answer = {
                    // Over before the answer is out, so that an asker who has it never counts as one who left.
                    let _ending = ending;
                    work()
                };
                // The asker may have gone; then nobody needs the answer.
                let _ = sender.send(answer);
            })
            .map_err(|source| ProviderError::Read { what: what.to_owned(), source })?;
        let _watch = Watch { thing, state };
        match timeout_at(deadline, receiver).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err(ProviderError::NotUnderstood {
                what: what.to_owned(),
                problem: "the look at it failed in a way that was not foreseen".to_owned(),
            }),
            Err(elapsed) => Err(late(elapsed)),
        }
    }

    fn thing(&self, what: &str) -> Result<Arc<Thing>, ProviderError> {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thing) = things.get(what) {
            return Ok(Arc::clone(thing));
        }
        if things.len() >= THINGS_LIMIT {
            things.retain(|_, thing| Arc::strong_count(thing) > 1);
        }
        if things.len() >= THINGS_LIMIT {
            return Err(ProviderError::Stuck(what.to_owned()));
        }
        let thing =
            Arc::new(Thing { places: Arc::new(Semaphore::new(PLACES)), abandoned: AtomicUsize::new(0) });
        things.insert(what.to_owned(), Arc::clone(&thing));
        Ok(thing)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(30)
    }

    #[tokio::test]
    async fn what_returns_is_returned() {
        let blocking = Blocking::default();
        let far = Instant::now() + Duration::from_secs(60);
        assert_eq!(blocking.run("seven", far, || 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_hanging_look_costs_its_deadline_and_two_of_them_stop_the_next_at_once() {
        let blocking = Blocking::default();
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..2 {
            let gate = Arc::clone(&gate);
            let result = blocking
                .run("/mnt/dead", soon(), move || {
                    let _ = gate.lock().unwrap().recv();
                })
                .await;
            assert!(matches!(result, Err(ProviderError::Timeout(_))));
        }
        let asked = Instant::now();
        let far = asked + Duration::from_secs(60);
        assert!(matches!(blocking.run("/mnt/dead", far, || ()).await, Err(ProviderError::Stuck(_))));
        assert!(asked.elapsed() < Duration::from_secs(5));
        // Other things are not affected.
        blocking.run("/mnt/alive", far, || ()).await.unwrap();
        // Once the mount answers again, so do the looks.
        drop(release);
        for _ in 0..200 {
            if blocking.run("/mnt/dead", soon(), || ()).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("still stuck");
    }

    #[tokio::test]
    async fn looks_that_answer_never_count_as_hanging() {
        let blocking = Blocking::default();
        let far = Instant::now() + Duration::from_secs(60);
        for look in 0..2000 {
            assert_eq!(blocking.run("quick", far, move || look).await.unwrap(), look);
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let blocking = Blocking::default();
        let far = Instant::now() + Duration::from_secs(60);
        let result = blocking.run("panic", far, || panic!("as planned")).await;
        assert!(matches!(result, Err(ProviderError::NotUnderstood { .. })));
    }

    #[tokio::test]
    async fn an_asker_who_leaves_counts_as_abandoning() {
        let blocking = Blocking::default();
        let (_release, gate) = mpsc::channel::<()>();
        let far = Instant::now() + Duration::from_secs(60);
        let look = blocking.run("/mnt/left", far, move || {
            let _ = gate.recv();
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), look).await.is_err());
        let thing = blocking.thing("/mnt/left").unwrap();
        assert_eq!(thing.abandoned.load(Ordering::SeqCst), 1);
    }
}
