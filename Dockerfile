# A static program in an empty image. Build and run:
#
#   docker build -t kith .
#   docker run -v $PWD/kith.yaml:/etc/kith/kith.yaml:ro -v kith:/data -p 1883:1883 -p 8080:8080 kith
#
# It takes its settings from a file, and does not start without one: without one Kith listens on loopback alone, which
# nobody outside of the container can reach. The folder of store.path must be on a volume; in the image it is /data.

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /kith ./cmd/kith && mkdir -m 700 /data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /kith /kith
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
ENV KITH_STORE_PATH=/data
VOLUME /data
EXPOSE 1883 8883 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/kith"]
CMD ["serve", "--config", "/etc/kith/kith.yaml"]
