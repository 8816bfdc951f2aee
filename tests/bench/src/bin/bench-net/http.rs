//! HTTP: any request is answered by the same 128 bytes.

use alloc::rc::Rc;
use core::time::Duration;

use web_ui::{
    http::{Body, Caching, Request, Response, Status},
    server::{Answer, Handler, Server},
};

use crate::{
    marks::{Counted, Marks},
    port::Port,
};

/// The body.
const BODY: [u8; 128] = {
    let mut body = [b'x'; 128];
    body[127] = b'\n';
    body
};

/// Connections that are served at once.
const CONNECTIONS: usize = 48;

struct Site {
    marks: Marks,
}

impl Handler for Site {
    type Query = core::convert::Infallible;

    fn route(&mut self, _: &Request<'_>) -> Answer<Self::Query> {
        self.marks.add(1);
        Answer::Ready(self.options())
    }

    fn options(&mut self) -> Response {
        Response {
            status: Status::Ok,
            content_type: "text/plain",
            caching: Caching::NoStore,
            headers: "",
            body: Body::Static(&BODY),
        }
    }

    fn resolve(&mut self, query: Self::Query, _: Duration) -> Option<Response> {
        match query {}
    }
}

/// Serves a port for ever.
pub async fn serve(port: Rc<Port>) {
    let mut server = Server::new(CONNECTIONS, Site { marks: Marks::new(Counted::Requests) });
    loop {
        let now = rt::now();
        while let Some(stream) = port.take() {
            server.accept(stream, now);
        }
        let wake = server.turn(now);
        port.wait(wake).await;
    }
}
