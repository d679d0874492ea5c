//! The answer of an HTTP/1.1 server, as bytes become it (RFC 9112). The grammar of head and chunks is
//! httparse's.

use httparse::{EMPTY_HEADER, Response, Status, parse_chunk_size};

use crate::transport::{Answer, LONGEST_BODY, NoAnswer};

/// The longest head in bytes, and the most headers.
const LONGEST_HEAD: usize = 16 << 10;
const MOST_HEADERS: usize = 64;

/// Where a body ends (RFC 9112 §6.3).
enum Framing {
    Length(usize),
    Chunks,
    Close,
}

/// The answer that these bytes are; `None` if more of it has to come. `is_closed`: none comes.
///
/// # Errors
/// What is no answer, cut short, or longer than is read.
pub(crate) fn answer(bytes: &[u8], is_closed: bool) -> Result<Option<Answer>, NoAnswer> {
    let mut headers = [EMPTY_HEADER; MOST_HEADERS];
    let mut response = Response::new(&mut headers);
    let parsed = response.parse(bytes);
    let Status::Complete(head) = parsed.map_err(|error| failed(&format!("not HTTP: {error}")))?
    else {
        let is_long = bytes.len() > LONGEST_HEAD;
        return if is_long { Err(NoAnswer::TooLong) } else { unless(is_closed) };
    };
    let framing = framing(&response)?;
    let status = response.code.ok_or_else(|| failed("no status"))?;
    let rest = &bytes[head..];
    let body = match framing {
        Framing::Length(length) if length > LONGEST_BODY => return Err(NoAnswer::TooLong),
        Framing::Length(length) => rest.get(..length).map(<[u8]>::to_vec),
        Framing::Chunks => chunks(rest)?,
        Framing::Close if rest.len() > LONGEST_BODY => return Err(NoAnswer::TooLong),
        Framing::Close => is_closed.then(|| rest.to_vec()),
    };
    match body {
        Some(body) => Ok(Some(Answer { status, body })),
        None => unless(is_closed),
    }
}

fn framing(response: &Response<'_, '_>) -> Result<Framing, NoAnswer> {
    let named = |name: &'static str| {
        let all =
            response.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        all.map(|header| std::str::from_utf8(header.value).unwrap_or_default().trim())
    };
    if let Some(coding) = named("transfer-encoding").next() {
        let is_known = coding.eq_ignore_ascii_case("chunked");
        return if is_known { Ok(Framing::Chunks) } else { Err(failed("unknown coding")) };
    }
    if matches!(response.code, Some(204 | 304)) {
        return Ok(Framing::Length(0));
    }
    let Some(length) = named("content-length").next() else { return Ok(Framing::Close) };
    // Several that differ are an attack on whoever is between.
    let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || named("content-length").any(|other| other != length) {
        return Err(failed("no right content length"));
    }
    // Digits that are no number are too many.
    Ok(Framing::Length(length.parse().unwrap_or(usize::MAX)))
}

/// The body in chunks; `None` if it is not whole. What may follow it is not looked at.
fn chunks(mut rest: &[u8]) -> Result<Option<Vec<u8>>, NoAnswer> {
    let mut body = Vec::new();
    loop {
        let parsed = parse_chunk_size(rest).map_err(|_| failed("no right chunk"))?;
        let Status::Complete((used, size)) = parsed else { return Ok(None) };
        let Some(size) = usize::try_from(size).ok().filter(|size| *size <= LONGEST_BODY) else {
            return Err(NoAnswer::TooLong);
        };
        rest = &rest[used..];
        if size == 0 {
            return Ok(Some(body));
        }
        let (Some(chunk), Some(end)) = (rest.get(..size), rest.get(size..size + 2)) else {
            return Ok(None);
        };
        if end != b"\r\n" {
            return Err(failed("no right chunk"));
        }
        if body.len() + size > LONGEST_BODY {
            return Err(NoAnswer::TooLong);
        }
        body.extend_from_slice(chunk);
        rest = &rest[size + 2..];
    }
}

/// More has to come, unless the server has closed the connection.
fn unless(is_closed: bool) -> Result<Option<Answer>, NoAnswer> {
    if is_closed { Err(failed("the answer is cut short")) } else { Ok(None) }
}

fn failed(what: &str) -> NoAnswer {
    NoAnswer::Failed(what.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn each_framing_whole_and_not_before() {
        for (text, status, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned(), 200, "hello"),
            ("HTTP/1.1 404 Not Found\r\ncontent-length:0\r\nX: y\r\n\r\n".to_owned(), 404, ""),
            (format!("{CHUNKED}3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n"), 200, "hello"),
            ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), 204, ""),
        ] {
            for end in 0..text.len() {
                assert_eq!(answer(&text.as_bytes()[..end], false), Ok(None), "{text:?} {end}");
                let cut = answer(&text.as_bytes()[..end], true).unwrap_err();
                assert_eq!(cut, failed("the answer is cut short"), "{text:?} {end}");
            }
            let found = answer(text.as_bytes(), false).unwrap().unwrap();
            assert_eq!((found.status, found.body.as_slice()), (status, body.as_bytes()));
        }
        let text = b"HTTP/1.0 200 OK\r\n\r\nhello";
        assert_eq!(answer(text, false), Ok(None));
        assert_eq!(answer(text, true).unwrap().unwrap().body, b"hello");
    }

    #[test]
    fn what_is_wrong_or_too_long_is_refused_at_once() {
        let long = "x".repeat(LONGEST_BODY + 1);
        let length = |value: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\n");
        for text in [
            length("65537"),
            length("99999999999999999999999999"),
            format!("HTTP/1.1 200 OK\r\n\r\n{long}"),
            format!("{CHUNKED}fffffff\r\n"),
            format!("{CHUNKED}8000\r\n{}\r\n8001\r\n{}\r\n", &long[..0x8000], &long[..0x8001]),
            format!("HTTP/1.1 200 {}", &long[..LONGEST_HEAD]),
        ] {
            assert_eq!(answer(text.as_bytes(), false), Err(NoAnswer::TooLong), "{text:.80}");
        }
        for text in [
            length("-1"),
            length("0x5"),
            length(""),
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx".to_owned(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx".to_owned(),
            format!("{CHUNKED}3\r\nhello"),
            format!("{CHUNKED}g\r\n"),
            "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        ] {
            let found = answer(text.as_bytes(), false);
            assert!(matches!(found, Err(NoAnswer::Failed(_))), "{text:?}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>(), tail in "[0-9a-f\r\n;:]{0,40}", end: bool) {
            let _ = answer(&bytes, end);
            let _ = answer(format!("{CHUNKED}{tail}").as_bytes(), end);
            let _ = answer(format!("HTTP/1.1 200 OK\r\ncontent-length: {tail}").as_bytes(), end);
        }
    }
}
