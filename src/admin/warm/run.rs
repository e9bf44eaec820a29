use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::super::control::{Control, PullRequest, Pulled};
use super::job::Job;
use super::order::{Place, Plan};
use super::pace::Pace;
use super::sitemap::{Reader, Sitemap};
use crate::telemetry::WarmOutcome;

/// URLs of one job, its sitemaps' included.
const URLS_MAX: usize = 1_000_000;

/// Sitemaps of one job, indexes included.
const SITEMAPS_MAX: usize = 1000;

/// An index that is listed in an index; the protocol has none.
const DEPTH_MAX: u32 = 2;

/// How often a pull that was shed is tried.
const TRIES: u32 = 6;

/// Before the second try; it doubles.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Between two pulls while clients need the node.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// What all pulls of a job share.
struct Work {
    job: Arc<Job>,
    plan: Plan,
    control: Arc<dyn Control>,
    pace: Mutex<Pace>,
}

/// Pulls all URLs of the plan, one's failure not being another's. Dropped, it ends at once, and so do its pulls.
pub(super) async fn run(job: Arc<Job>, mut plan: Plan, control: Arc<dyn Control>) {
    let urls = std::mem::take(&mut plan.urls);
    let sitemaps = std::mem::take(&mut plan.sitemaps);
    let most = plan
        .concurrency
        .min(control.background_pulls_max(&plan.site));
    let mut pulls = Pulls {
        left: URLS_MAX,
        running: JoinSet::new(),
        work: Arc::new(Work {
            job,
            plan,
            control,
            pace: Mutex::new(Pace::new(most)),
        }),
    };
    for url in urls {
        pulls.add(url).await;
    }
    pulls.add_sitemaps(sitemaps).await;
    // Ends with the last pull.
    while pulls.running.join_next().await.is_some() {}
}

struct Pulls {
    work: Arc<Work>,
    running: JoinSet<()>,
    /// URLs that may still come.
    left: usize,
}

impl Pulls {
    /// Starts to pull a URL when there is room for it.
    async fn add(&mut self, url: String) {
        let work = Arc::clone(&self.work);
        let requests = work.plan.variants.len() as u64;
        let site_of = |host: &str| work.control.site_of(host);
        let place = match work.plan.place(&url, &site_of) {
            Ok(place) => place,
            Err((reason, detail)) => return work.job.refuse(&url, requests, reason, Some(detail)),
        };
        if self.left == 0 {
            return work.job.refuse(&url, requests, "too-many-urls", None);
        }
        self.left -= 1;
        self.wait_for_room().await;
        self.running
            .spawn(async move { work.pull_variants(&url, &place).await });
    }

    async fn wait_for_room(&mut self) {
        // Ends when enough pulls have ended.
        loop {
            while self.running.try_join_next().is_some() {}
            let has_room = self.work.control.has_room();
            let allowed = match has_room {
                true => self.work.pace.lock().allowed(),
                false => 1,
            };
            if self.running.len() < allowed {
                if !has_room {
                    sleep(BUSY_PAUSE).await;
                }
                return;
            }
            self.running.join_next().await;
        }
    }

    /// Reads the sitemaps, and those that they list, and pulls their URLs.
    async fn add_sitemaps(&mut self, sitemaps: Vec<String>) {
        let mut known: HashSet<String> = sitemaps.iter().cloned().collect();
        let mut waiting: VecDeque<(String, u32)> =
            sitemaps.into_iter().map(|sitemap| (sitemap, 0)).collect();
        while let Some((sitemap, depth)) = waiting.pop_front() {
            match self.work.read_sitemap(&sitemap).await {
                Ok(Sitemap::Urls(urls)) => {
                    let variants = self.work.plan.variants.len();
                    let requests = urls.len().saturating_mul(variants);
                    self.work.job.found(requests as u64);
                    for url in urls {
                        self.add(url).await;
                    }
                }
                Ok(Sitemap::Index(sitemaps)) => {
                    self.work.job.found(0);
                    for sitemap in sitemaps {
                        if known.contains(&sitemap) {
                            continue;
                        }
                        if depth >= DEPTH_MAX || known.len() >= SITEMAPS_MAX {
                            self.work
                                .job
                                .refuse_uncounted(&sitemap, "too-many-sitemaps", None);
                            continue;
                        }
                        known.insert(sitemap.clone());
                        waiting.push_back((sitemap, depth + 1));
                    }
                }
                Err((reason, detail)) => {
                    self.work.job.refuse_uncounted(&sitemap, &reason, detail);
                }
            }
        }
    }
}

impl Work {
    /// Asks for a URL in each of its variants: the first brings the object, the others what is made of it.
    async fn pull_variants(&self, url: &str, place: &Place) {
        for variant in &self.plan.variants {
            let pulled = self.pull(place, variant).await;
            self.job.note(url, &pulled);
        }
    }

    async fn pull(&self, place: &Place, headers: &HeaderMap) -> Pulled {
        let mut tries = 1;
        // Ends after a few tries.
        loop {
            let request = self.request(place, headers.clone());
            let pulled = self.control.pull(request, None).await;
            if !pulled.is_shed {
                if pulled.outcome != WarmOutcome::Failed {
                    self.pace.lock().went_well();
                }
                return pulled;
            }
            self.pace.lock().was_shed();
            if tries >= TRIES {
                return pulled;
            }
            sleep(BACK_OFF.saturating_mul(1 << tries)).await;
            tries += 1;
        }
    }

    /// Reads a sitemap through the site, as any client would.
    async fn read_sitemap(&self, url: &str) -> Result<Sitemap, (String, Option<String>)> {
        let site_of = |host: &str| self.control.site_of(host);
        let place = self
            .plan
            .place(url, &site_of)
            .map_err(|(reason, detail)| (reason.to_owned(), Some(detail)))?;
        let mut reader = Reader::new();
        let mut sink = |piece: &[u8]| reader.push(piece);
        let request = self.request(&place, HeaderMap::new());
        let pulled = self.control.pull(request, Some(&mut sink)).await;
        match (pulled.outcome, pulled.status) {
            (WarmOutcome::Failed, Some(status)) if pulled.reason == "status" => {
                Err((format!("status-{status}"), None))
            }
            (WarmOutcome::Failed, _) => Err((pulled.reason.to_owned(), None)),
            (_, Some(status)) if status != 200 => Err((format!("status-{status}"), None)),
            _ => reader
                .finish()
                .map_err(|error| ("sitemap".to_owned(), Some(error.to_string()))),
        }
    }

    fn request(&self, place: &Place, headers: HeaderMap) -> PullRequest {
        PullRequest {
            site: self.plan.site.clone(),
            host: place.host.clone(),
            url: place.address.clone(),
            headers,
        }
    }
}
