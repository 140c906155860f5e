//! The least HTTP/1.1 client that keeps a connection: one request, one answer, blocking.
//!
//! Takes requests as ready bytes, gives status and body. Fails when the connection breaks or the answer is not framed
//! by `content-length` or chunks; then the connection is of no use any more.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection to the node.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// What came back.
#[derive(Debug, Default)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Seconds to wait before a retry, if the node said so.
    pub retry_after: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

/// A request as bytes.
#[must_use]
pub fn request(method: &str, path: &str, api_key: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {api_key}\r\n\
         content-type: {content_type}\r\naccept: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If the node does not take the connection.
    pub fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream: BufReader::with_capacity(256 << 10, stream) })
    }

    /// Sends one request and reads its answer into `answer`, whose buffer is used again.
    ///
    /// # Errors
    /// If the connection breaks or the answer is not HTTP/1.1.
    pub fn send(&mut self, request: &[u8], answer: &mut Answer) -> std::io::Result<()> {
        self.stream.get_mut().write_all(request)?;
        answer.body.clear();
        answer.retry_after = None;
        let line = self.line()?;
        answer.status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| bad("no status"))?;
        let mut length = None;
        let mut chunked = false;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { return Err(bad("no header")) };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse::<u64>().ok(),
                "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
                "retry-after" => answer.retry_after = value.trim().parse().ok(),
                _ => {}
            }
        }
        match length {
            Some(length) => self.exactly(length, &mut answer.body),
            None if chunked => self.chunks(&mut answer.body),
            None => Err(bad("an answer without a length")),
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(bad("the node closed the connection"));
        }
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok(line)
    }

    fn exactly(&mut self, length: u64, body: &mut Vec<u8>) -> std::io::Result<()> {
        let read = (&mut self.stream).take(length).read_to_end(body)? as u64;
        if read == length { Ok(()) } else { Err(bad("the answer ended early")) }
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> std::io::Result<()> {
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16).map_err(|_| bad("a chunk without a size"))?;
            self.exactly(size, body)?;
            self.line()?;
            if size == 0 {
                return Ok(());
            }
        }
    }
}

fn bad(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what)
}

/// How often a short text stands in an answer; counting is cheaper than parsing.
#[must_use]
pub fn count(body: &[u8], text: &[u8]) -> usize {
    let Some(first) = text.first() else { return 0 };
    let mut found = 0;
    let mut rest = body;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        let here = &rest[at..];
        let step = if here.starts_with(text) {
            found += 1;
            text.len()
        } else {
            1
        };
        rest = &here[step..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_without_overlap() {
        assert_eq!(count(b"aa aaa", b"aa"), 2);
        assert_eq!(count(b"\"status\":\"accepted\",\"status\":\"rejected\"", b"\"status\":\"accepted\""), 1);
        assert_eq!(count(b"", b"x"), 0);
    }

    #[test]
    fn an_answer_is_read_by_length_and_by_chunks() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = [0; 4];
            for answer in [
                "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\ncontent-length: 2\r\n\r\nno",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
            ] {
                stream.read_exact(&mut seen).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut connection = Connection::open(address).unwrap();
        let mut answer = Answer::default();
        connection.send(b"ping", &mut answer).unwrap();
        assert_eq!((answer.status, answer.retry_after, answer.body.as_slice()), (429, Some(3), b"no".as_slice()));
        connection.send(b"ping", &mut answer).unwrap();
        assert_eq!((answer.status, answer.retry_after, answer.body.as_slice()), (200, None, b"abcd".as_slice()));
        server.join().unwrap();
    }
}
