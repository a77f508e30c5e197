//! Requests and answers on a request-response stream: the message fills the stream, up to its limit.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;
use lighter_wire::{Answer, Message, Request};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskCodec;

impl Codec for AskCodec {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Answer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Answer>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &request).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: Answer) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &answer).await
    }
}

async fn read<M: Message>(io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<M> {
    let mut bytes = Vec::new();
    io.take(M::BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await?;
    M::decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn write<M: Message>(io: &mut (impl AsyncWrite + Unpin + Send), message: &M) -> io::Result<()> {
    let bytes = message.encode().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    io.write_all(&bytes).await?;
    io.close().await
}
