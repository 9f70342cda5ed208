# One static binary in an empty image. Build: docker build -t erbridge .
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/erbridge ./cmd/erbridge \
 && mkdir -p /out/var/lib/erbridge /out/etc/erbridge /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /usr/share/zoneinfo /usr/share/zoneinfo
COPY --from=build --chown=65532:65532 /out/var/lib/erbridge /var/lib/erbridge
COPY --from=build --chown=65532:65532 /out/etc/erbridge /etc/erbridge
COPY --from=build --chown=65532:65532 --chmod=700 /out/tmp /tmp
COPY --from=build /out/erbridge /usr/bin/erbridge
USER 65532:65532
ENV ERBRIDGE_CONFIG=/etc/erbridge/erbridge.yaml
VOLUME /var/lib/erbridge
# The console of a container that is looked at from outside needs
# console: {listen: ":8088", allow_plain_http: true}
EXPOSE 8088
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s CMD ["/usr/bin/erbridge", "health"]
ENTRYPOINT ["/usr/bin/erbridge"]
CMD ["run"]
