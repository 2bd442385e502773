// SPDX-License-Identifier: GPL-2.0
/*
 * What: asynchronous page faults of a Linux guest whose memory the host takes away while its
 * userspace runs: all of it, again and again, at moments that a timer chooses. Each page comes back
 * when it is asked for, through userfaultfd, and after a while.
 * Conditions: the guest's kernel on the host (guest = true in the plan), userfaultfd,
 * KVM_CAP_ASYNC_PF_INT. APF_TIMES overrides how often.
 * Expected: the guest's processes wait for their pages while the guest goes on; it is told of each
 * page that came, by interrupts that it counts, and its kernel complains of nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "emulator.h"
#include "linux.h"
#include "state.h"
#include "tracefs.h"

#define COMMAND_LINE "console=ttyS0 reboot=k panic=-1 pci=off strata.count"
#define PAGES	(LINUX_MEMORY / 4096)
#define EVENTS	TRACEFS "events/kvm/kvm_async_pf_"

static const struct vm_config config = { .nr_vcpus = 1, .irqchip = CHIP_FULL };
static struct linux_guest *guest;
static u8 *store, present[PAGES];
static int uffd;
static volatile bool over;
static u64 served, taken;

/* ---- the pages ---- */

/* A page that nobody has asked for yet may be given twice. */
static void give(u64 address)
{
	u64 offset = (address & ~0xfffull) - (u64)guest->mem;
	struct uffdio_copy copy = { .dst = (u64)guest->mem + offset, .src = (u64)store + offset, .len = 4096 };
	struct uffdio_range range = { .start = copy.dst, .len = 4096 };

	if (!ioctl(uffd, UFFDIO_COPY, &copy))
		served++;
	else if (errno == EEXIST)
		ioctl(uffd, UFFDIO_WAKE, &range);
	else
		tap_fail(__FILE__, __LINE__, "UFFDIO_COPY: %s", strerror(errno));
}

static void *server(void *arg)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	while (!over) {
		if (poll(&p, 1, 10) <= 0 || read(uffd, &msg, sizeof(msg)) != sizeof(msg) ||
		    msg.event != UFFD_EVENT_PAGEFAULT)
			continue;
		usleep(200);
		give(msg.arg.pagefault.address);
	}
	return arg;
}

/* The vCPU is stopped: nobody writes. */
static void take_away(void)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING, .range = { (u64)guest->mem, LINUX_MEMORY } };
	u64 i;

	if (!taken)
		REQUIRE_EQ(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	REQUIRE_EQ(mincore(guest->mem, LINUX_MEMORY, present), 0);
	for (i = 0; i < PAGES; i++)
		if (present[i] & 1)
			memcpy(store + i * 4096, guest->mem + i * 4096, 4096);
	REQUIRE_EQ(madvise(guest->mem, LINUX_MEMORY, MADV_DONTNEED), 0);
	taken++;
}

static void watch_memory(void)
{
	struct uffdio_api api = { .api = UFFD_API };

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (uffd < 0)
		tap_skip("no userfaultfd");
	/* A huge page would be back at once. */
	REQUIRE_EQ(madvise(guest->mem, LINUX_MEMORY, MADV_NOHUGEPAGE), 0);
	store = host_alloc(LINUX_MEMORY, 4096);
	REQUIRE_EQ(ioctl(uffd, UFFDIO_API, &api), 0);
}

/* ---- counting ---- */

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f)
		tap_skip("no %s", path);
	fputs(text, f);
	fclose(f);
}

static void trace(const char *on)
{
	put(EVENTS "not_present/enable", on);
	put(EVENTS "ready/enable", on);
}

static u64 traced(const char *what)
{
	FILE *f = fopen(TRACEFS "trace", "r");
	char line[512];
	u64 n = 0;

	REQUIRE(f);
	while (fgets(line, sizeof(line), f))
		n += !!strstr(line, what);
	fclose(f);
	return n;
}

/* The guest's row HYP between two lines of its log */
static u64 hypervisor_interrupts(const char *from)
{
	const char *p = strstr(guest->log, from);
	unsigned long long n = 0;

	p = p ? strstr(p, "HYP:") : NULL;
	if (p)
		sscanf(p, "HYP: %llu", &n);
	return n;
}

/* ---- the guest ---- */

static void on_alarm(int sig)
{
	(void)sig;
}

static void boot(struct vm *vm, u64 times)
{
	struct itimerval timer = { { 0, 15000 }, { 0, 15000 } };
	bool user = false;
	int r;

	signal(SIGALRM, on_alarm);
	while (!guest->ended) {
		r = vcpu_run_raw(vm->vcpu);
		if (r == -EINTR) {
			if (user && taken < times &&
			    !strstr(guest->log, "strata: interrupts before"))
				take_away();
			continue;
		}
		if (r == -EAGAIN)
			continue;
		REQUIRE_EQ(r, 0);
		if (vm->vcpu->run->exit_reason != KVM_EXIT_IO &&
		    vm->vcpu->run->exit_reason != KVM_EXIT_MMIO) {
			tap_fail(__FILE__, __LINE__, "exit %u, suberror %u",
				 vm->vcpu->run->exit_reason, vm->vcpu->run->internal.suberror);
			return;
		}
		linux_serve(guest, vm, vm->vcpu);
		if (!user && strstr(guest->log, "Run /init")) {
			user = true;
			take_away();
			setitimer(ITIMER_REAL, &timer, NULL);
		}
	}
}

TEST_TIMEOUT(memory_comes_later, 600)
{
	u64 absent, ready, before, after;
	struct vm lender = { }, *vm;
	pthread_t thread;

	NEED_CAP(KVM_CAP_ASYNC_PF_INT);
	if (host_is_bochs_svm())
		tap_skip("Bochs' VMRUN does not load CR2, which holds the token");
	guest = linux_load(COMMAND_LINE, 1);
	watch_memory();
	pthread_create(&thread, NULL, server, NULL);
	lender.mem = guest->mem;
	vm = vm_create_with(&config, &lender);
	put(TRACEFS "trace", "");
	trace("1");
	linux_enter(guest, vm);
	boot(vm, env_number("APF_TIMES", 12));
	setitimer(ITIMER_REAL, &(struct itimerval){ }, NULL);
	trace("0");
	over = true;
	pthread_join(thread, NULL);
	absent = traced("kvm_async_pf_not_present:");
	ready = traced("kvm_async_pf_ready:");
	before = hypervisor_interrupts("strata: interrupts before");
	after = hypervisor_interrupts("strata: interrupts after");
	tap_note(
		"memory taken away %llu times, %llu pages came back, %llu of them asynchronously; the guest was told of %llu, and counts %llu to %llu",
		(unsigned long long)taken, (unsigned long long)served, (unsigned long long)absent,
		(unsigned long long)ready, (unsigned long long)before, (unsigned long long)after);
	if (!strstr(guest->log, "strata: guest up: ") || env_number("LINUX_LOG", 0))
		linux_show_log(guest);
	CHECK(strstr(guest->log, "strata: guest up: "));
	CHECK_EQ(linux_complaints(guest), 0);
	CHECK(absent > 0);
	CHECK_EQ(ready, absent);
	CHECK(before > 0 && after <= ready);
	vm_destroy(vm);
}
