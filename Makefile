# Vestibule. `make` leaves build/vestibule; `make demo` and `make test` need nothing but make and a C compiler.
#
#   BORINGSSL=/prefix   an upstream BoringSSL (include/, lib/libssl.a, lib/libcrypto.a) instead of Debian's package
#   SANITIZE=LIST       address,undefined or thread; builds beside the plain one
#   DEBUG=1             no optimisation
#   FUZZ_SECONDS=N      for each target of `make fuzz`

CC ?= cc
comma := ,
ifdef SANITIZE
BUILD ?= build/$(subst $(comma),-,$(SANITIZE))
SANITIZE_FLAGS := -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
else
BUILD ?= build
SANITIZE_FLAGS :=
endif

VERSION := 0.1.0

# BoringSSL: Debian keeps it for the Android SDK, headers and libraries out of the usual way.
ifdef BORINGSSL
TLS_CFLAGS := -isystem $(BORINGSSL)/include
TLS_LIBS := $(BORINGSSL)/lib/libssl.a $(BORINGSSL)/lib/libcrypto.a -lstdc++ -Wl,--exclude-libs,ALL
else
# clang of trixie does not know -print-multiarch.
MULTIARCH := $(or $(shell $(CC) -print-multiarch 2>/dev/null),$(patsubst /usr/lib/%/android,%,$(firstword $(wildcard /usr/lib/*/android))))
TLS_CFLAGS := -isystem /usr/include/android
TLS_LIBS := -L/usr/lib/$(MULTIARCH)/android -Wl,-rpath,/usr/lib/$(MULTIARCH)/android -lssl -lcrypto
endif

OPTIMISE := $(if $(DEBUG),-O0,-O2)
WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
HARDENING := -fstack-protector-strong -fPIE $(if $(SANITIZE)$(DEBUG),,-D_FORTIFY_SOURCE=2)
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -DVESTIBULE_VERSION='"$(VERSION)"' -g $(OPTIMISE) $(WARNINGS) $(HARDENING) \
	-I. $(TLS_CFLAGS) $(SANITIZE_FLAGS) $(CFLAGS)
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now $(SANITIZE_FLAGS) $(LDFLAGS)
LIBS := $(TLS_LIBS) -luv -linih -lcrypt -lgsasl -ljansson -lpam -lcap-ng -lpthread

ROOMS := proxy tls auth conf
SOURCES := $(filter-out proxy/main.c,$(wildcard $(ROOMS:=/*.c)))
OBJECTS := $(SOURCES:%.c=$(BUILD)/obj/%.o)
LIBRARY := $(BUILD)/libvestibule.a
UNITS := $(patsubst test/unit/%.c,$(BUILD)/unit/%,$(wildcard test/unit/test_*.c))

.DEFAULT_GOAL := all
all: $(BUILD)/vestibule

$(BUILD)/vestibule: $(BUILD)/obj/proxy/main.o $(LIBRARY)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(LIBRARY): $(OBJECTS)
	rm -f $@ && ar rcs $@ $^

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Unit tests: one program a module. Tests may be a little less strict with themselves.
$(BUILD)/unit/%: test/unit/%.c $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Wno-conversion -Wno-missing-prototypes -MMD -MP $(ALL_LDFLAGS) -o $@ $< $(LIBRARY) $(LIBS) -lcmocka

# It makes each allocation fail in turn.
$(BUILD)/unit/test_short_memory: ALL_LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=strdup,--wrap=strndup

units: $(UNITS)

# Conversations: files with what client, server and MTA say, run over the pure session core.
$(BUILD)/conversation: test/conversation.c $(LIBRARY)
	$(CC) $(ALL_CFLAGS) -Wno-missing-prototypes -MMD -MP $(ALL_LDFLAGS) -o $@ $< $(LIBRARY) $(LIBS)

# Fuzz targets: clang's libFuzzer with ASan and UBSan, in a build of their own.
FUZZ_SECONDS ?= 60
FUZZ_BUILD ?= build/fuzz
FUZZERS := $(patsubst test/fuzz/%.c,$(FUZZ_BUILD)/%,$(wildcard test/fuzz/fuzz_*.c))
FUZZ_FLAGS := -std=c11 -D_GNU_SOURCE -DVESTIBULE_VERSION='"$(VERSION)"' -g -O1 -I. $(TLS_CFLAGS) \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
FUZZ_OBJECTS := $(SOURCES:%.c=$(FUZZ_BUILD)/obj/%.o)

$(FUZZ_BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	clang $(FUZZ_FLAGS) -MMD -MP -c -o $@ $<

$(FUZZ_BUILD)/libvestibule.a: $(FUZZ_OBJECTS)
	rm -f $@ && ar rcs $@ $^

$(FUZZ_BUILD)/fuzz_%: test/fuzz/fuzz_%.c $(FUZZ_BUILD)/libvestibule.a
	clang $(FUZZ_FLAGS) -fsanitize=fuzzer -MMD -MP -o $@ $< $(FUZZ_BUILD)/libvestibule.a $(LIBS)

fuzzers: $(FUZZERS)

# Every target in turn, FUZZ_SECONDS each, from the seeds kept in test/fuzz/seeds; findings stay in build/fuzz.
fuzz:
	test/install build test
	$(MAKE) fuzzers
	test/fuzz/run $(FUZZ_BUILD) $(FUZZ_SECONDS)

# What the machine needs, by Debian's names; asked for with sudo when not root.
deps:
	test/install build
test-deps:
	test/install build test
container-deps:
	test/install container

demo:
	test/install build demo
	@echo 'Building $(BUILD)/vestibule'
	@$(MAKE) -s all $(BUILD)/sink
	BUILD=$(BUILD) test/demo

test:
	test/install build test
	+test/run

test-container:
	test/install build container
	$(MAKE) $(BUILD)/sink
	test/container

# Client and mail server of measurements. They take nothing from what they measure.
BENCH_LIBRARY := $(BUILD)/libbench.a
BENCH_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out bench/load.c bench/sink.c,$(wildcard bench/load*.c bench/sink*.c)))

$(BENCH_LIBRARY): $(BENCH_OBJECTS)
	rm -f $@ && ar rcs $@ $^

$(BUILD)/sink: $(BUILD)/obj/bench/sink.o $(BENCH_LIBRARY)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -luv -lm
$(BUILD)/load: $(BUILD)/obj/bench/load.o $(BENCH_LIBRARY)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TLS_LIBS) -luv -lm

$(BUILD)/unit/test_load_%: test/unit/test_load_%.c $(BENCH_LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Wno-conversion -Wno-missing-prototypes -MMD -MP $(ALL_LDFLAGS) -o $@ $< $(BENCH_LIBRARY) -lm -lcmocka
$(BUILD)/unit/test_sink_%: test/unit/test_sink_%.c $(BENCH_LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Wno-conversion -Wno-missing-prototypes -MMD -MP $(ALL_LDFLAGS) -o $@ $< $(BENCH_LIBRARY) -lm -lcmocka

# Instructions of fixed work, compared with bench/instructions.json.
$(BUILD)/count: bench/count.c $(LIBRARY)
	$(CC) $(ALL_CFLAGS) -MMD -MP $(ALL_LDFLAGS) -o $@ $< $(LIBRARY) $(LIBS)

count: $(BUILD)/count
	bench/count $<
count-record: $(BUILD)/count
	bench/count --record $<

# Side by side with other servers, as root: see bench/README.md.
bench-peers:
	test/install bench
bench: all $(BUILD)/load $(BUILD)/sink
	BUILD=$(BUILD) bench/compare
bench-smoke: all $(BUILD)/load $(BUILD)/sink
	BUILD=$(BUILD) bench/compare --smoke

# For packagers DESTDIR and PREFIX; a configuration that is there already stays.
PREFIX ?= /usr
install: all
	install -D -m 755 $(BUILD)/vestibule $(DESTDIR)$(PREFIX)/sbin/vestibule
	install -D -m 644 conf/vestibule.8 $(DESTDIR)$(PREFIX)/share/man/man8/vestibule.8
	install -D -m 644 conf/vestibule.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/vestibule.conf.5
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|/usr/sbin|$(PREFIX)/sbin|' conf/vestibule.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/vestibule.service
	test -e $(DESTDIR)/etc/vestibule/vestibule.conf || \
		install -D -m 644 conf/vestibule.conf $(DESTDIR)/etc/vestibule/vestibule.conf

format:
	clang-format -i $(wildcard */*.[ch] test/*/*.[ch])

clean:
	rm -rf build

# For one file at a time, while the rest does not build.
print-cflags:
	@echo '$(ALL_CFLAGS)'
print-libs:
	@echo '$(LIBS)'

-include $(wildcard $(BUILD)/obj/*/*.d $(BUILD)/unit/*.d $(BUILD)/*.d $(FUZZ_BUILD)/obj/*/*.d $(FUZZ_BUILD)/*.d)

.PHONY: bench bench-peers bench-smoke count count-record
.PHONY: all units fuzzers fuzz deps test-deps container-deps demo test test-container install format clean print-cflags print-libs
.SECONDARY:
