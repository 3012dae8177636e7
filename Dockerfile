# Vestibule in a container; README.md shows how to run it, test/container tries it hardened.
FROM debian:trixie-slim AS build
WORKDIR /src
COPY test/install test/install
COPY test/packages test/packages
RUN apt-get update -q && apt-get install -y -q --no-install-recommends make \
        libcurl3t64-gnutls libldap2 ca-certificates \
 && test/install build
COPY . .
RUN make && make install DESTDIR=/image PREFIX=/usr && conf/image /image && mkdir /state

# No shell, no package manager: the program, its libraries, the authorities of the web.
FROM scratch
LABEL org.opencontainers.image.title="Vestibule" \
      org.opencontainers.image.description="TLS and passwords in front of an old mail server" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /image /
COPY --from=build --chown=10001:10001 /state /var/lib/vestibule

# No file capability: one that the container is not granted would keep the program from starting at all.
USER 10001:10001
# The one place it writes to, so that the rest of the file system can be read-only.
VOLUME /var/lib/vestibule
EXPOSE 465 587
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["/usr/sbin/vestibule", "health"]
ENTRYPOINT ["/usr/sbin/vestibule"]
