# Vestibule in a container; README.md shows how to run it, test/container tries it hardened.
FROM debian:trixie-slim AS build
WORKDIR /src
COPY test/install test/install
COPY test/packages test/packages
RUN apt-get update -q && apt-get install -y -q --no-install-recommends make && test/install build
COPY . .
RUN make && make install DESTDIR=/image PREFIX=/usr

FROM debian:trixie-slim
LABEL org.opencontainers.image.title="Vestibule" \
      org.opencontainers.image.description="TLS and passwords in front of an old mail server" \
      org.opencontainers.image.licenses="MIT"
RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends android-libboringssl libuv1t64 libinih1 libcrypt1 libcap-ng0 libpam0g \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/* \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/vestibule \
 && install -d -o 10001 -g 10001 -m 0755 /etc/vestibule
COPY --from=build /image/usr/sbin/vestibule /usr/sbin/vestibule

# No file capability: one that the container is not granted would keep the program from starting at all.
USER 10001:10001
# The one place it writes to, so that the rest of the file system can be read-only.
VOLUME /var/lib/vestibule
EXPOSE 465 587
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["/usr/sbin/vestibule", "health"]
ENTRYPOINT ["/usr/sbin/vestibule"]
