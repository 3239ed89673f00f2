# The image of a release, from the binaries that were built for it; .goreleaser.yaml says how. Like Dockerfile it is made of nothing else.

# On the machine that builds, whatever the platform: an image for another one is made without emulation.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
RUN mkdir -p /out/state && chmod 0700 /out/state

FROM scratch
ARG TARGETPLATFORM
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY $TARGETPLATFORM/freshet $TARGETPLATFORM/freshet-worker $TARGETPLATFORM/freshet-scheduler /
COPY --from=build --chown=65532:65532 /out/state /state
USER 65532:65532
ENTRYPOINT ["/freshet"]
