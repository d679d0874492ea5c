//! Sessions, and both providers, over a service in memory with a clock of its own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use super::*;
use crate::provider::{Options, Provider};
use crate::service;
use crate::{alibaba, aws};

/// Gets the number of a GET and the files, before it is answered.
type Hook = Box<dyn FnMut(usize, &mut BTreeMap<String, String>)>;

/// What a service answers, by path.
#[derive(Clone, Default)]
struct Service(Rc<Inner>);

#[derive(Default)]
struct Inner {
    files: RefCell<BTreeMap<String, String>>,
    now: Cell<Duration>,
    /// Each request: method, path, token.
    requests: RefCell<Vec<(Method, String, String)>>,
    pauses: RefCell<Vec<Duration>>,
    tokens: Cell<u32>,
    /// Which answers come in the place of the true ones, first the first.
    instead: RefCell<Vec<Result<Answer, NoAnswer>>>,
    before: RefCell<Option<Hook>>,
    knows_no_tokens: Cell<bool>,
}

fn answer(status: u16, body: &str) -> Answer {
    Answer { status, body: body.into() }
}

impl Transport for Service {
    fn exchange(&self, question: &Question<'_>) -> Result<Answer, NoAnswer> {
        let path = question.url.strip_prefix("http://127.0.0.1/latest/").unwrap().to_owned();
        let token = question.header.unwrap_or_default().1.to_owned();
        let number = self.0.requests.borrow().len();
        self.0.requests.borrow_mut().push((question.method, path.clone(), token.clone()));
        self.0.now.set(self.0.now.get() + Duration::from_millis(1));
        if !self.0.instead.borrow().is_empty() {
            return self.0.instead.borrow_mut().remove(0);
        }
        if path == "api/token" {
            if self.0.knows_no_tokens.get() {
                return Ok(answer(404, ""));
            }
            assert_eq!((question.method, token.as_str()), (Method::Put, "21600"));
            self.0.tokens.set(self.0.tokens.get() + 1);
            return Ok(answer(200, &format!("token-{}\n", self.0.tokens.get())));
        }
        if !self.0.knows_no_tokens.get() && token != format!("token-{}", self.0.tokens.get()) {
            return Ok(answer(401, "unauthorised"));
        }
        if let Some(before) = &mut *self.0.before.borrow_mut() {
            before(number, &mut self.0.files.borrow_mut());
        }
        let path = path.strip_prefix("meta-data/").unwrap();
        match self.0.files.borrow().get(path) {
            Some(text) => Ok(answer(200, text)),
            None => Ok(answer(404, "<html>404</html>")),
        }
    }

    fn now(&self) -> Duration {
        self.0.now.get()
    }

    fn pause(&self, length: Duration) {
        self.0.pauses.borrow_mut().push(length);
        self.0.now.set(self.0.now.get() + length);
    }
}

const MAC: &str = "00:16:3e:ac:c7:b7";

const ALIBABA: [(&str, &str); 7] = [
    ("network-interface-id", "eni-1"),
    ("primary-ip-address", "172.31.199.183"),
    ("private-ipv4s", r#"["172.31.199.183","172.31.199.185","172.31.199.186"]"#),
    ("vswitch-cidr-block", "172.31.192.0/20"),
    ("gateway", "172.31.207.253"),
    ("ipv6s", "[2408::2,2408::1]"),
    ("vswitch-ipv6-cidr-block", "2408::/64"),
];

const AWS: [(&str, &str); 7] = [
    ("interface-id", "eni-1"),
    ("local-ipv4s", "10.0.1.7\n10.0.1.9\n10.0.1.8"),
    ("subnet-ipv4-cidr-block", "10.0.1.0/24"),
    ("ipv4-prefix", "10.0.1.16/28"),
    ("ipv6s", "2600::7"),
    ("ipv6-prefix", "2600:0:0:0:1::/80"),
    ("subnet-ipv6-cidr-blocks", "2600::/64"),
];

impl Service {
    fn of(files: &[(&str, &str)]) -> Self {
        let service = Self::default();
        service.put("", &format!("{MAC}/"));
        for (name, text) in files {
            service.put(&format!("{MAC}/{name}"), text);
        }
        service
    }

    fn alibaba() -> Self {
        let service = Self::of(&ALIBABA);
        service.put(&format!("{MAC}/ipv6-gateway"), "2408::ffff:ffff:ffff:fffd");
        service
    }

    fn put(&self, name: &str, text: &str) {
        let path = format!("network/interfaces/macs/{name}");
        self.0.files.borrow_mut().insert(path, text.to_owned());
    }

    fn take(&self, name: &str) {
        self.0.files.borrow_mut().remove(&format!("network/interfaces/macs/{MAC}/{name}"));
    }

    fn session(&self, dialect: Dialect) -> Session<Self> {
        let endpoint = Endpoint::at(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Session::new(self.clone(), endpoint, dialect)
    }

    fn as_alibaba(&self) -> service::Service<Self> {
        service::Service::new(
            &alibaba::CLOUD,
            self.session(alibaba::CLOUD.dialect),
            Options::default(),
        )
    }

    fn as_aws(&self) -> service::Service<Self> {
        service::Service::new(&aws::CLOUD, self.session(aws::CLOUD.dialect), Options::default())
    }

    fn instead(&self, answers: impl IntoIterator<Item = Result<Answer, NoAnswer>>) {
        self.0.instead.borrow_mut().extend(answers);
    }
}

#[test]
fn alibabas_formats_and_everything_read_twice_with_one_token() {
    let service = Service::alibaba();
    let reading = service.as_alibaba().read().unwrap();
    let [nic] = reading.nics.as_slice() else { panic!("{reading:?}") };
    assert_eq!((nic.mac.to_string().as_str(), nic.id.as_str()), (MAC, "eni-1"));
    assert_eq!(nic.primary, Some(Ipv4Addr::new(172, 31, 199, 183)));
    let secondary: Vec<String> = nic.secondary.iter().map(ToString::to_string).collect();
    assert_eq!(secondary, ["172.31.199.185", "172.31.199.186"]);
    let ipv6: Vec<String> = nic.ipv6.iter().map(ToString::to_string).collect();
    assert_eq!(ipv6, ["2408::1", "2408::2"]);
    assert_eq!(nic.subnet_v4.unwrap().to_string(), "172.31.192.0/20");
    assert_eq!(nic.gateway_v6.unwrap().to_string(), "2408::ffff:ffff:ffff:fffd");
    let requests = service.0.requests.borrow();
    let of = |wanted: &str| requests.iter().filter(|(_, path, _)| path.ends_with(wanted)).count();
    assert_eq!((of("api/token"), of("macs/"), of("private-ipv4s")), (1, 2, 2));
}

#[test]
fn awss_formats_with_the_routers_that_no_path_tells() {
    let reading = Service::of(&AWS).as_aws().read().unwrap();
    let nic = &reading.nics[0];
    assert_eq!(nic.primary, Some(Ipv4Addr::new(10, 0, 1, 7)));
    assert_eq!(nic.secondary, [Ipv4Addr::new(10, 0, 1, 8), Ipv4Addr::new(10, 0, 1, 9)]);
    assert_eq!(nic.gateway_v4, Some(Ipv4Addr::new(10, 0, 1, 1)));
    assert_eq!(nic.gateway_v6.unwrap().to_string(), "fe80:ec2::1");
    let prefixes: Vec<String> = nic.prefixes.iter().map(ToString::to_string).collect();
    assert_eq!(prefixes, ["10.0.1.16/28", "2600::1:0:0:0/80"]);
    assert!(nic.has("10.0.1.31".parse().unwrap()) && !nic.has("10.0.1.32".parse().unwrap()));

    let v6_only = Service::of(&AWS);
    for name in ["local-ipv4s", "subnet-ipv4-cidr-block", "ipv4-prefix"] {
        v6_only.take(name);
    }
    let reading = v6_only.as_aws().read().unwrap();
    assert_eq!((reading.nics[0].primary, reading.nics[0].gateway_v4), (None, None));
}

/// Every file of a NIC that is missing, empty, cut, or another's.
#[test]
fn no_half_answer_is_ever_an_answer() {
    for (name, _) in ALIBABA.iter().copied().chain([("ipv6-gateway", "")]) {
        for change in [None, Some(""), Some("\u{fffd}"), Some("10.9.9.9"), Some("[\"10.9.9.9\"")] {
            // Without IPv6 addresses the rest of IPv6 is not looked at, and an id is any text
            // that can be shown.
            let is_allowed = matches!((name, change), ("ipv6s", None | Some("")))
                || (name == "network-interface-id"
                    && change.is_some_and(|id| id.starts_with(['1', '['])));
            let service = Service::alibaba();
            match change {
                Some(text) => service.put(&format!("{MAC}/{name}"), text),
                None => service.take(name),
            }
            let outcome = service.as_alibaba().read();
            assert_eq!(outcome.is_ok(), is_allowed, "{name} {change:?}: {outcome:?}");
            if let Err(error) = outcome {
                let text = error.to_string();
                assert!(text.contains(name) || text.contains(MAC), "{name} {change:?}: {text}");
            }
        }
    }
    for (list, text) in [
        ("", ""),
        ("", "not-a-mac/"),
        ("", "00:16:3e:ac:c7:b7/\n00:16:3e:ac:c7:b7/"),
        ("", "01:00:5e:00:00:01/"),
    ] {
        let service = Service::alibaba();
        service.put(list, text);
        assert!(service.as_alibaba().read().is_err(), "{text:?}");
    }
    let twice = Service::of(&AWS);
    twice.put("", &format!("{MAC}/\n02:00:00:00:00:01/"));
    for (name, text) in AWS {
        twice.put(&format!("02:00:00:00:00:01/{name}"), text);
    }
    let error = twice.as_aws().read().unwrap_err().to_string();
    assert!(error.contains("belongs to another NIC too"), "{error}");
}

/// Blocks were compared by their first address alone: a pod could get another NIC's primary address,
/// or the gateway's.
#[test]
fn nothing_is_given_twice_or_to_the_gateway_by_a_block() {
    const SECOND: &str = "02:00:00:00:00:01";
    for (name, text, expected) in [
        ("local-ipv4s", "10.0.1.20", "10.0.1.20 belongs to another NIC too"),
        ("ipv4-prefix", "10.0.1.16/29", "10.0.1.16 belongs to another NIC too"),
        ("ipv4-prefix", "10.0.1.24/29", "10.0.1.24 belongs to another NIC too"),
    ] {
        let service = Service::of(&AWS);
        service.put("", &format!("{MAC}/\n{SECOND}/"));
        service.put(&format!("{SECOND}/interface-id"), "eni-2");
        service.put(&format!("{SECOND}/local-ipv4s"), "10.0.1.40");
        service.put(&format!("{SECOND}/subnet-ipv4-cidr-block"), "10.0.1.0/24");
        service.put(&format!("{SECOND}/{name}"), text);
        let error = service.as_aws().read().unwrap_err().to_string();
        assert!(error.contains(expected), "{name} {text}: {error}");
    }
    for (prefixes, expected) in [
        ("10.0.1.16/28\n10.0.1.24/29", "prefixes 10.0.1.16/28 and 10.0.1.24/29 overlap"),
        ("10.0.1.24/29\n10.0.1.16/28", "prefixes 10.0.1.24/29 and 10.0.1.16/28 overlap"),
        ("10.0.1.0/30", "prefix 10.0.1.0/30 has the gateway 10.0.1.1"),
    ] {
        let service = Service::of(&AWS);
        service.put(&format!("{MAC}/ipv4-prefix"), prefixes);
        let error = service.as_aws().read().unwrap_err().to_string();
        assert!(error.contains(expected), "{prefixes:?}: {error}");
    }
}

#[test]
fn the_name_of_a_nic_is_one_that_can_be_shown() {
    for id in ["", "eni-1\neth0", "\u{1b}[31m", "e\u{301}", &"x".repeat(129)] {
        let service = Service::alibaba();
        service.put(&format!("{MAC}/network-interface-id"), id);
        let error = service.as_alibaba().read().unwrap_err().to_string();
        assert!(error.contains("1 to 128 visible characters"), "{id:?}: {error}");
    }
}

#[test]
fn an_update_under_way_is_never_seen_in_part() {
    let service = Service::alibaba();
    let changed = Cell::new(false);
    // Between the list of addresses and the rest of the first reading.
    *service.0.before.borrow_mut() = Some(Box::new(move |number, files| {
        if number == 6 && !changed.replace(true) {
            let path = format!("network/interfaces/macs/{MAC}/private-ipv4s");
            files.insert(path, r#"["172.31.199.183"]"#.to_owned());
        }
    }));
    let reading = service.as_alibaba().read().unwrap();
    assert_eq!(reading.nics[0].secondary, Vec::<Ipv4Addr>::new());

    let restless = Service::alibaba();
    *restless.0.before.borrow_mut() = Some(Box::new(|number, files| {
        let path = format!("network/interfaces/macs/{MAC}/private-ipv4s");
        let text = format!(r#"["172.31.199.183","172.31.200.{}"]"#, number % 250 + 1);
        files.insert(path, text);
    }));
    assert_eq!(restless.as_alibaba().read(), Err(Error::Unsteady { readings: 5 }));
}

#[test]
fn a_token_that_ran_out_is_renewed_once() {
    let service = Service::alibaba();
    let provider = service.as_alibaba();
    provider.read().unwrap();
    service.instead([Ok(answer(401, ""))]);
    provider.read().unwrap();
    assert_eq!(service.0.tokens.get(), 2);
    // Half its time is over.
    service.0.now.set(service.0.now.get() + TOKEN_AGE);
    provider.read().unwrap();
    assert_eq!(service.0.tokens.get(), 3);

    let hostile = Service::alibaba();
    let provider = hostile.as_alibaba();
    provider.read().unwrap();
    hostile.instead([Ok(answer(401, "")), Ok(answer(200, "token-1")), Ok(answer(401, ""))]);
    let error = provider.read().unwrap_err();
    assert!(matches!(error, Error::Refused { status: 401, .. }), "{error}");
}

#[test]
fn the_normal_mode_of_alibaba_needs_no_token_and_aws_always_does() {
    let service = Service::alibaba();
    service.0.knows_no_tokens.set(true);
    assert!(service.as_alibaba().read().is_ok());
    let service = Service::of(&AWS);
    service.0.knows_no_tokens.set(true);
    let error = service.as_aws().read().unwrap_err();
    assert!(matches!(error, Error::Refused { status: 404, .. }), "{error}");
    // A token that would smuggle a header in is none.
    let service = Service::of(&AWS);
    service.instead((0..2).map(|_| Ok(answer(200, "a\r\nb"))));
    assert!(service.as_aws().read().unwrap_err().to_string().contains("visible characters"));
}

#[test]
fn what_may_pass_is_tried_again_with_growing_pauses() {
    let service = Service::alibaba();
    service.instead([
        Ok(answer(429, "")),
        Ok(answer(503, "")),
        Err(NoAnswer::Failed("connection refused".into())),
    ]);
    service.as_alibaba().read().unwrap();
    let pauses = service.0.pauses.borrow().clone();
    assert_eq!(pauses, [500, 600, 720].map(Duration::from_millis));

    let service = Service::alibaba();
    service.instead((0..5).map(|_| Ok(answer(500, ""))));
    let error = service.as_alibaba().read().unwrap_err().to_string();
    assert!(error.contains("api/token: status 500, 5 times within"), "{error}");

    // A redirect, a refusal and a body without end are not.
    for (instead, expected) in [
        (Ok(answer(302, "")), "status 302"),
        (Ok(answer(403, "")), "status 403"),
        (Err(NoAnswer::TooLong), "longer than 65536 bytes"),
    ] {
        let service = Service::of(&AWS);
        service.instead([instead]);
        let error = service.as_aws().read().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(service.0.requests.borrow().len(), 1);
    }
}

#[test]
fn a_question_is_answered_within_its_time_or_stays_open() {
    let service = Service::alibaba();
    let provider = service.as_alibaba();
    let mac: cni_net::MacAddr = MAC.parse().unwrap();
    let owns = |address: &str| provider.owns(mac, address.parse().unwrap());
    assert_eq!(owns("172.31.199.183"), Ok(true));
    assert_eq!(owns("172.31.199.185"), Ok(true));
    assert_eq!(owns("2408::1"), Ok(true));
    assert_eq!(owns("172.31.199.187"), Ok(false));
    assert_eq!(owns("2408::3"), Ok(false));
    service.take("ipv6s");
    assert_eq!(owns("2408::1"), Ok(false), "404 is an empty list");
    let unknown = provider.owns("02:00:00:00:00:01".parse().unwrap(), "10.0.0.1".parse().unwrap());
    assert!(matches!(unknown, Err(Error::Missing { .. })), "{unknown:?}");
    let before = service.0.now.get();
    service.instead([Ok(answer(503, ""))]);
    assert!(owns("172.31.199.185").is_err());
    let allowed = before + Duration::from_millis(100);
    assert!(service.0.now.get() <= allowed, "no pause fits");
}
