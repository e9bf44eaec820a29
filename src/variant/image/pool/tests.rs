use std::sync::mpsc;

use super::super::super::config::{ImageConfig, ImageFormat};
use super::super::cook::Watch;
use super::super::decode::Demand;
use super::super::recipe::Media;
use super::super::recipe::recipe;
use super::super::testing;
use super::super::wish::wish_of;
use super::craft::{Decoding, Look};
use super::memory::Ticket;
use super::*;

pub(super) fn recipe_of(query: &str) -> Recipe {
    let config = ImageConfig {
        enabled: true,
        ..ImageConfig::default()
    };
    let (wish, _) = wish_of(&config, "/a.png", Some(query)).unwrap();
    recipe(&config, &wish.unwrap(), true, true)
}

fn picture() -> Picture {
    Picture {
        media: Media::Picture(ImageFormat::Png),
        bytes: Bytes::from_static(b"made"),
        width: 1,
        height: 1,
        may_improve: false,
        detail: String::new(),
    }
}

const WHOLE: Demand = Demand {
    reduction: 1,
    all_frames: true,
};

/// Decodes everything to nothing, and cooks as it is told.
struct Fake<F> {
    decoding_bytes: u64,
    cook: F,
}

impl<F> Craft for Fake<F>
where
    F: Fn(&[u8], &Ticket) -> Result<Picture, ImageError> + Send + Sync + 'static,
{
    type Decoded = ();

    fn look(&self, _: &Recipe, _: &[Recipe], file: &[u8]) -> Result<Look, ImageError> {
        assert_ne!(file, b"panics");
        Ok(Look {
            own: WHOLE,
            together: WHOLE,
            decoding_bytes: self.decoding_bytes,
            cooking_bytes: 0,
        })
    }

    fn decode(
        &self,
        _: &Recipe,
        file: &[u8],
        _: Demand,
        _: &Ticket,
    ) -> Result<Decoding<()>, ImageError> {
        if file == b"broken" {
            return Err(ImageError::BadPicture {
                detail: String::new(),
            });
        }
        Ok(Decoding {
            decoded: (),
            demand: WHOLE,
            bytes: self.decoding_bytes,
        })
    }

    fn cook(
        &self,
        _: (&Recipe, Urgency),
        (): &(),
        file: &[u8],
        ticket: &Ticket,
    ) -> Result<Picture, ImageError> {
        (self.cook)(file, ticket)
    }
}

/// For a machine that does other things, too.
fn patient() -> ImageWorkers {
    ImageWorkers {
        queue_timeout: Duration::from_secs(60),
        timeout: Duration::from_secs(60),
        ..ImageWorkers::default()
    }
}

fn pool_of<F>(limits: ImageWorkers, cook: F) -> Pool<Fake<F>>
where
    F: Fn(&[u8], &Ticket) -> Result<Picture, ImageError> + Send + Sync + 'static,
{
    let craft = Fake {
        decoding_bytes: 0,
        cook,
    };
    Pool::new(limits, craft)
}

fn order(source: u128, query: &str) -> Order {
    Order {
        site: "site".into(),
        source,
        recipe: recipe_of(query),
        urgency: Urgency::Answer,
    }
}

impl<C: Craft> Pool<C> {
    async fn make(&self, order: Order, file: &'static [u8]) -> Result<Picture, JobRefused> {
        let intent = Intent::new(&self.shared, order);
        intent.render(Bytes::from_static(file), |_| false).await
    }

    fn start(&self, order: Order) -> tokio::task::JoinHandle<Result<Picture, JobRefused>> {
        let intent = Intent::new(&self.shared, order);
        tokio::spawn(async move { intent.render(Bytes::from_static(b"abc"), |_| false).await })
    }

    fn queued(&self) -> usize {
        self.stats().queued.iter().map(|(_, jobs)| jobs).sum()
    }

    fn refusals(&self, name: &str) -> u64 {
        let sites = self.stats().sites;
        let of_site = |site: &SiteImages| {
            let found = site.refusals.iter().find(|(known, _)| *known == name);
            found.map_or(0, |(_, count)| *count)
        };
        sites.iter().map(of_site).sum()
    }
}

fn error_of(outcome: Result<Picture, JobRefused>) -> ImageError {
    outcome.unwrap_err().error
}

/// One thread whose jobs say when they begin and wait for a word to go on.
struct Gate {
    begun: mpsc::Receiver<()>,
    go: mpsc::Sender<()>,
}

fn gated(limits: ImageWorkers) -> (Pool<impl Craft>, Gate) {
    let (begin, begun) = mpsc::channel();
    let (go, gate) = mpsc::channel();
    let gate = Mutex::new(gate);
    let pool = pool_of(limits, move |_, ticket| {
        begin.send(()).unwrap();
        gate.lock().recv().unwrap();
        ticket.check()?;
        Ok(picture())
    });
    (pool, Gate { begun, go })
}

impl Gate {
    /// Lets the other tasks run until the thread has taken a job.
    async fn begins(&self) {
        while self.begun.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
    }
}

/// Only sure while the thread is busy.
async fn queued(pool: &Pool<impl Craft>, jobs: usize) {
    while pool.queued() != jobs {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn pictures_are_made_and_counted() {
    let pool = ImagePool::new(patient());
    let source = Bytes::from(testing::png(&testing::noise(32, 32)));
    let announced = pool.announce(order(1, "width=16&format=jpeg"));
    let made = announced.render(source.clone(), |_| false).await.unwrap();
    assert_eq!(
        (made.media, made.width),
        (Media::Picture(ImageFormat::Jpeg), 16)
    );
    let stats = pool.stats();
    assert_eq!((stats.jobs, stats.decodes, stats.shared_decodes), (1, 1, 0));
    assert_eq!(stats.bytes_in, source.len() as u64);
    assert_eq!(stats.bytes_out, made.bytes.len() as u64);
    assert!(stats.busy > Duration::ZERO);
    assert_eq!(stats.waits.iter().map(|(_, count)| count).sum::<u64>(), 1);
    assert_eq!(stats.sites[0].formats[0].0, "jpeg");
    assert_eq!(
        stats.memory_bytes, stats.decoded_bytes,
        "the job's is given back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_of_one_source_are_one_decoding() {
    for threads in [1, 3] {
        let pool = ImagePool::new(ImageWorkers {
            threads,
            ..patient()
        });
        let source = Bytes::from(testing::jpeg(&testing::noise(300, 200)));
        let announced: Vec<_> = (1..=10)
            .map(|n| pool.announce(order(1, &format!("width={}&format=webp", n * 20))))
            .collect();
        let made = announced.into_iter().map(|announced| {
            let source = source.clone();
            tokio::spawn(async move { announced.render(source, |_| false).await })
        });
        for (n, made) in (1..).zip(made.collect::<Vec<_>>()) {
            assert_eq!(made.await.unwrap().unwrap().width, n * 20);
        }
        let stats = pool.stats();
        assert_eq!(
            (stats.jobs, stats.decodes, stats.shared_decodes),
            (10, 1, 9)
        );
    }
}

#[tokio::test]
async fn a_broken_picture_is_decoded_once_for_all_who_wait() {
    let pool = pool_of(patient(), |_, _| Ok(picture()));
    let intents =
        ["width=1", "width=2", "width=3"].map(|query| Intent::new(&pool.shared, order(1, query)));
    for intent in &intents {
        let refused = intent
            .render(Bytes::from_static(b"broken"), |_| false)
            .await;
        let refused = refused.unwrap_err();
        assert_eq!(
            (refused.error.as_str(), refused.of_source),
            ("bad-picture", true)
        );
    }
    assert_eq!(pool.stats().decodes, 1);
    assert_eq!(pool.refusals("bad-picture"), 3);
}

#[tokio::test]
async fn a_panic_ends_only_its_own_job() {
    let pool = pool_of(patient(), |file, _| {
        assert_ne!(file, b"bad");
        Ok(picture())
    });
    let bad = pool.make(order(1, ""), b"bad").await.unwrap_err();
    assert_eq!(bad, JobRefused::of_form(ImageError::Panicked));
    let worse = pool.make(order(2, ""), b"panics").await.unwrap_err();
    assert_eq!(worse, JobRefused::of_source(ImageError::Panicked));
    assert_eq!(pool.make(order(3, ""), b"good").await, Ok(picture()));
    assert_eq!(pool.refusals("panicked"), 2);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let (pool, gate) = gated(ImageWorkers {
        queue: 1,
        ..patient()
    });
    let running = pool.start(order(1, ""));
    gate.begins().await;
    let waiting = pool.start(order(2, ""));
    queued(&pool, 1).await;
    let refused = pool.make(order(3, ""), b"").await;
    assert_eq!(error_of(refused), ImageError::QueueFull);
    gate.go.send(()).unwrap();
    gate.go.send(()).unwrap();
    assert!(running.await.unwrap().is_ok() && waiting.await.unwrap().is_ok());
    assert_eq!(pool.refusals("queue-full"), 1);
}

#[tokio::test]
async fn who_makes_room_for_another_site_is_told() {
    let (pool, gate) = gated(ImageWorkers {
        queue: 2,
        ..patient()
    });
    let running = pool.start(order(1, ""));
    gate.begins().await;
    let first = pool.start(order(2, ""));
    queued(&pool, 1).await;
    let second = pool.start(order(3, ""));
    queued(&pool, 2).await;
    let other = pool.start(Order {
        site: "other".into(),
        ..order(4, "")
    });
    assert_eq!(error_of(second.await.unwrap()), ImageError::QueueFull);
    (0..3).for_each(|_| gate.go.send(()).unwrap());
    for made in [running, first, other] {
        assert!(made.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_dropped_waiter_leaves_the_queue() {
    let (pool, gate) = gated(patient());
    let running = pool.start(order(1, ""));
    gate.begins().await;
    let waiting = pool.start(order(2, ""));
    queued(&pool, 1).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(pool.queued(), 0);
    gate.go.send(()).unwrap();
    assert!(running.await.unwrap().is_ok());
    assert_eq!(pool.stats().jobs, 1, "the other never began");
    assert_eq!(pool.refusals("cancelled"), 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_and_running_have_deadlines() {
    let (pool, gate) = gated(ImageWorkers::default());
    let slow = pool.start(order(1, ""));
    tokio::task::yield_now().await;
    // Real time: the thread takes the job whether or not the clock moves.
    let gate = tokio::task::spawn_blocking(move || {
        gate.begun.recv().unwrap();
        gate
    })
    .await
    .unwrap();
    let late = pool.make(order(2, ""), b"").await;
    assert_eq!(
        error_of(late),
        ImageError::QueueTimeout(Duration::from_secs(2))
    );
    let slow = slow.await.unwrap();
    assert_eq!(error_of(slow), ImageError::Timeout(Duration::from_secs(5)));
    gate.go.send(()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_left_behind_may_wait_for_longer() {
    let limits = ImageWorkers {
        timeout: Duration::from_secs(100),
        ..ImageWorkers::default()
    };
    let (pool, gate) = gated(limits);
    let slow = pool.start(order(1, ""));
    tokio::task::yield_now().await;
    let gate = tokio::task::spawn_blocking(move || {
        gate.begun.recv().unwrap();
        gate
    })
    .await
    .unwrap();
    let intent = Intent::new(&pool.shared, order(2, ""));
    let began = Instant::now();
    let left = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        intent.leave_behind();
        assert_eq!(pool.stats().queued[1], (Urgency::Behind, 1));
    };
    let (late, ()) = tokio::join!(intent.render(Bytes::new(), |_| false), left);
    assert_eq!(
        error_of(late),
        ImageError::QueueTimeout(Duration::from_secs(60))
    );
    assert_eq!(began.elapsed().as_secs(), 60);
    // Here the clock runs ahead of the thread: whether that one is in time is not said.
    slow.abort();
    gate.go.send(()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_when_it_takes_long_and_it_goes_on_if_that_is_wanted() {
    let (pool, gate) = gated(ImageWorkers::default());
    let told = Mutex::new(Vec::new());
    let began = Instant::now();
    let late = |reason| {
        told.lock().push((reason, began.elapsed().as_secs()));
        true
    };
    let slow = Intent::new(&pool.shared, order(1, ""));
    let waiting = Intent::new(&pool.shared, order(2, ""));
    let (slow, waiting) = tokio::join!(slow.render(Bytes::new(), late), async {
        // Real time: the thread takes the first job whether or not the clock moves.
        while gate.begun.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        waiting.render(Bytes::new(), late).await
    });
    assert_eq!(error_of(slow), ImageError::Timeout(Duration::from_secs(20)));
    assert_eq!(
        error_of(waiting),
        ImageError::QueueTimeout(Duration::from_secs(60))
    );
    assert_eq!(*told.lock(), [("queue-timeout", 2), ("timeout", 5)]);
    gate.go.send(()).unwrap();
}

#[tokio::test]
async fn an_upgrade_waits_until_nothing_else_does() {
    let (pool, gate) = gated(patient());
    let running = pool.start(order(1, ""));
    gate.begins().await;
    let waiting = pool.start(order(2, ""));
    queued(&pool, 1).await;
    let upgrade = pool.start(Order {
        urgency: Urgency::Upgrade,
        ..order(3, "")
    });
    queued(&pool, 2).await;
    assert!(gate.begun.try_recv().is_err(), "its own thread is free");
    gate.go.send(()).unwrap();
    assert!(running.await.unwrap().is_ok());
    // Now both begin, each on its thread.
    gate.begins().await;
    gate.begins().await;
    gate.go.send(()).unwrap();
    gate.go.send(()).unwrap();
    assert!(waiting.await.unwrap().is_ok() && upgrade.await.unwrap().is_ok());
}

#[tokio::test]
async fn too_large_a_file_is_refused_before_the_queue() {
    let pool = ImagePool::new(ImageWorkers {
        max_source_bytes: 2,
        ..patient()
    });
    let announced = pool.announce(order(1, ""));
    let refused = announced
        .render(Bytes::from_static(b"abc"), |_| false)
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.error.as_str(), refused.of_source),
        ("too-large", true)
    );
    assert_eq!(pool.stats().jobs, 0);
}

#[tokio::test]
async fn what_is_kept_decoded_makes_room_for_a_job() {
    let limits = ImageWorkers {
        memory_bytes: 100,
        ..patient()
    };
    let craft = Fake {
        decoding_bytes: 60,
        cook: |_: &[u8], _: &Ticket| Ok(picture()),
    };
    let pool = Pool::new(limits, craft);
    for source in 1..4 {
        assert!(pool.make(order(source, ""), b"abc").await.is_ok());
        assert_eq!(pool.stats().decoded_bytes, 60);
    }
    assert_eq!(pool.stats().decodes, 3);
}

#[tokio::test]
async fn a_files_bytes_are_collected_once() {
    let pool = ImagePool::new(patient());
    let [first, second, third] =
        ["width=1", "width=2", "width=3"].map(|q| pool.announce(order(1, q)));
    let SourceBytes::Yours(collector) = first.source(Some(3)) else {
        panic!("nobody else collects them");
    };
    assert!(matches!(second.source(None), SourceBytes::Coming));
    let bytes = Bytes::from_static(b"abc");
    let (told, ()) = tokio::join!(second.collected(), async { collector.done(bytes.clone()) });
    assert_eq!(told.as_ref(), Some(&bytes));
    assert!(matches!(third.source(None), SourceBytes::Here(_)));

    let other = pool.announce(order(2, ""));
    let another = pool.announce(order(2, "width=5"));
    let SourceBytes::Yours(collector) = other.source(None) else {
        panic!("nobody else collects them");
    };
    let (told, ()) = tokio::join!(another.collected(), async { drop(collector) });
    assert_eq!(told, None);
}

#[tokio::test]
async fn a_closed_pool_takes_no_more() {
    let (pool, gate) = gated(patient());
    let running = pool.start(order(1, ""));
    gate.begins().await;
    let waiting = pool.start(order(2, ""));
    queued(&pool, 1).await;
    let late = Intent::new(&pool.shared, order(3, ""));
    drop(pool);
    assert_eq!(error_of(waiting.await.unwrap()), ImageError::Closed);
    assert_eq!(
        error_of(late.render(Bytes::new(), |_| false).await),
        ImageError::Closed
    );
    gate.go.send(()).unwrap();
    assert!(running.await.unwrap().is_ok(), "a running job is finished");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn threads_are_nice_and_the_process_is_not() {
    let (tell, told) = mpsc::channel();
    let pool = pool_of(patient(), move |_, _| {
        let niceness = rustix::process::getpriority_process(None).unwrap();
        tell.send(niceness).unwrap();
        Ok(picture())
    });
    let own = rustix::process::getpriority_process(None).unwrap();
    assert!(pool.make(order(1, ""), b"").await.is_ok());
    assert_eq!(told.recv().unwrap(), (own + worker::NICENESS).min(19));
    assert_eq!(rustix::process::getpriority_process(None).unwrap(), own);
}

#[tokio::test]
async fn too_many_frames_are_the_fault_of_who_wants_them() {
    let frames =
        [1, 2, 3, 4, 5, 6, 7, 8].map(|n| testing::noise(30 + n, 30).crop_imm(n, 0, 30, 30));
    let source = Bytes::from(testing::gif(&frames.iter().collect::<Vec<_>>()));
    let few = ImageWorkers {
        max_frames: 2,
        ..patient()
    };
    let little = ImageWorkers {
        memory_bytes: 40_000,
        ..patient()
    };
    for limits in [few, little] {
        let pool = ImagePool::new(limits);
        let all = pool.announce(order(1, "width=20&format=webp"));
        let one = pool.announce(order(1, "width=20&anim=0&format=png"));
        let refused = all.render(source.clone(), |_| false).await.unwrap_err();
        assert_eq!(
            (refused.error.as_str(), refused.of_source),
            ("too-large", false)
        );
        let made = one.render(source.clone(), |_| false).await;
        assert_eq!(made.map(|picture| picture.width), Ok(20));
    }
}
