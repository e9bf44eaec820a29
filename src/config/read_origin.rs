use std::path::{Path, PathBuf};

use crate::origin::{
    ClientHeaders, Config, HostHeader, Protocol, RangeRequests, RetryOn, Server, Source,
    TlsVerification,
};

use super::address;
use super::field;
use super::read_node::readable;
use super::read_site::fields;
use super::section::Section;
use super::source::Wrong;

pub(super) fn read_origin(section: Section<'_>, base: &Path) -> Config {
    let mut origin = Config::new(read_source(section, base));
    section.text("host_header", &mut origin.host_header, address::host_header);
    section.text("sni", &mut origin.sni, |text| match text {
        "" => Ok(None),
        text => address::dns_name(text).map(Some),
    });
    origin.verification = read_verification(section, base);
    section.words(
        "protocols",
        &mut origin.protocols,
        &[("h2", Protocol::H2), ("h1", Protocol::H1)],
    );
    section.duration("connect_timeout", &mut origin.connect_timeout);
    section.duration("first_byte_timeout", &mut origin.first_byte_timeout);
    section.duration("read_timeout", &mut origin.read_timeout);
    section.integer("max_connections", &mut origin.max_connections);
    section.word(
        "range_requests",
        &mut origin.range_requests,
        &[
            ("auto", RangeRequests::Auto),
            ("never", RangeRequests::Never),
        ],
    );

    let queue = section.section("queue");
    queue.integer("length", &mut origin.queue.length);
    queue.duration("wait", &mut origin.queue.wait);
    let keepalive = section.section("keepalive");
    keepalive.duration("idle", &mut origin.keepalive.idle);
    keepalive.integer("max_idle", &mut origin.keepalive.max_idle);
    let retries = section.section("retries");
    retries.integer("count", &mut origin.retries.count);
    retries.words(
        "on",
        &mut origin.retries.on,
        &[
            ("connect", RetryOn::Connect),
            ("reset", RetryOn::Reset),
            ("timeout", RetryOn::Timeout),
            ("502", RetryOn::Status502),
            ("503", RetryOn::Status503),
            ("504", RetryOn::Status504),
        ],
    );

    section.word(
        "client_headers",
        &mut origin.client_headers,
        &[
            ("rebuild", ClientHeaders::Rebuild),
            ("transparent", ClientHeaders::Transparent),
        ],
    );
    origin.any_status = origin.client_headers == ClientHeaders::Transparent;
    section.list(
        "forward_headers",
        &mut origin.forward_headers,
        field::origin_name,
    );
    let headers = section.section("request_headers");
    fields(headers, "set", &mut origin.set_headers, field::origin_name);
    headers.list("remove", &mut origin.remove_headers, field::origin_name);
    refuse_what_a_folder_ignores(section, &origin);
    origin
}

fn read_source(section: Section<'_>, base: &Path) -> Source {
    let mut source = Source::Servers(Vec::new());
    section.text("url", &mut source, |text| {
        address::origin_source(text, base)
    });
    let sections = section.sections("server");
    let has_servers = section.has("server");
    if section.has("url") && has_servers {
        section.refuse(
            "url",
            Wrong::new(
                "an origin has a url or servers, not both",
                "write the url as one more [[origin.server]]",
            ),
        );
    }
    if !section.has("url") && !has_servers {
        section.refuse(
            "url",
            Wrong::new(
                "missing: the site has no origin",
                "write [origin] and url = \"https://origin.example.com\", for example",
            ),
        );
    }
    if !has_servers {
        return source;
    }
    let servers: Vec<Server> = sections.into_iter().filter_map(read_server).collect();
    if !servers.is_empty() && servers.iter().all(|server| server.backup) {
        section.refuse(
            "server",
            Wrong::new(
                "every server is a backup",
                "write backup = false for at least one",
            ),
        );
    }
    Source::Servers(servers)
}

fn read_server(section: Section<'_>) -> Option<Server> {
    let mut found = None;
    if section.require("url", "write url = \"https://o1.example.com\", for example") {
        section.text("url", &mut found, |text| {
            address::server_url(text).map(Some)
        });
    }
    let (mut weight, mut backup) = (1, false);
    section.integer("weight", &mut weight);
    section.flag("backup", &mut backup);
    found.map(|server| Server {
        weight,
        backup,
        ..server
    })
}

fn read_verification(section: Section<'_>, base: &Path) -> TlsVerification {
    let mut verify = true;
    let mut authority: Option<PathBuf> = None;
    section.flag("verify", &mut verify);
    section.text("ca", &mut authority, |text| match text {
        "" => Ok(None),
        text => readable(base, text).map(Some),
    });
    match (verify, authority) {
        (true, None) => TlsVerification::PublicRoots,
        (true, Some(path)) => TlsVerification::Authority(path),
        (false, None) => TlsVerification::Off,
        (false, Some(_)) => {
            section.refuse(
                "ca",
                Wrong::new(
                    "with verify = false no authority is asked",
                    "remove verify = false, or ca",
                ),
            );
            TlsVerification::Off
        }
    }
}

/// Settings of a connection say nothing about a folder; written there, they are a mistake.
fn refuse_what_a_folder_ignores(section: Section<'_>, origin: &Config) {
    if !matches!(origin.source, Source::Folder(_)) {
        return;
    }
    let ignored = [
        ("host_header", origin.host_header != HostHeader::Url),
        ("sni", origin.sni.is_some()),
        ("verify", origin.verification == TlsVerification::Off),
        (
            "ca",
            matches!(origin.verification, TlsVerification::Authority(_)),
        ),
    ];
    for (name, _) in ignored.into_iter().filter(|(_, is_set)| *is_set) {
        section.refuse(
            name,
            Wrong::new("a folder is not asked over HTTP", "remove it"),
        );
    }
}
