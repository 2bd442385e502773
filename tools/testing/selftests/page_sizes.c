// SPDX-License-Identifier: GPL-2.0
/*
 * What: how guest memory is mapped, by the number of nested page faults: 4K pages with their
 * neighbours, pages of 2M and 1G, where alignment forbids them; large pages under dirty logging;
 * what it costs to take a range away; faults of four vCPUs on the same fresh pages.
 * Conditions: pages of hugetlbfs. Those of 1G are there if the host's command line asks for them
 * ("hugepagesz=1G hugepages=1"), skipped otherwise.
 * Expected: one fault for a large page, one flush for a range, no write lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu.h"
#include "emulator.h"
#include "kmsg.h"
#include "stats.h"

#define SMALL	4096ull
#define LARGE	(2ull << 20)
#define GIANT	(1ull << 30)
#define GPA	GIANT
#define HUGE_1G	(30 << 26)	/* MAP_HUGE_1GB */

static volatile u64 bytes, stride, tag;

/* Writes a word of each page in question: where it is, and the tag. */
static void guest_touch(void)
{
	u64 gpa;

	for (;;) {
		for (gpa = GPA; gpa < GPA + bytes; gpa += stride)
			*(volatile u64 *)(gpa + 8) = gpa + tag;
		guest_sync(tag);
	}
}

/* Returns how many nested page faults it was. */
static u64 touch(struct vm *vm, u64 size, u64 step, u64 with)
{
	u64 before = stat_of(vm->vcpu->fd, "pf_taken");

	*guest_var(vm, &bytes) = size;
	*guest_var(vm, &stride) = step;
	*guest_var(vm, &tag) = with;
	RUN_UNTIL_SYNC(vm->vcpu, with);
	return stat_of(vm->vcpu->fd, "pf_taken") - before;
}

static void check_words(const u8 *mem, u64 size, u64 step, u64 with)
{
	u64 off;

	for (off = 0; off < size; off += step)
		if (*(const u64 *)(mem + off + 8) != GPA + off + with)
			break;
	CHECK_EQ(off, size);
}

/* A VM that has run up to the first touch: its code and stack are mapped. */
static struct vm *vm_with(void *mem, u64 size)
{
	struct vm *vm = vm_create(1);

	REQUIRE_EQ(vm_set_slot(vm, 1, 0, GPA, size, mem), 0);
	vcpu_set_long(vm->vcpu, guest_touch, 0);
	touch(vm, 0, SMALL, 1);
	return vm;
}

/* Pages of hugetlbfs, NULL if there are not as many. */
static u8 *huge_pages(u64 size, int flags)
{
	u8 *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | flags, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

static void set_number(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	REQUIRE(fd >= 0);
	REQUIRE(write(fd, value, strlen(value)) == (ssize_t)strlen(value));
	close(fd);
}

TEST(neighbours_of_small_pages)
{
	u8 *mem = host_alloc(LARGE, LARGE);
	struct vm *vm;
	u64 n;

	STRATA_ONLY("neighbours are mapped in advance");
	madvise(mem, LARGE, MADV_NOHUGEPAGE);
	memset(mem, 0, LARGE);
	vm = vm_with(mem, LARGE);
	n = touch(vm, LARGE, SMALL, 2);
	tap_note("%lu faults for 512 pages", n);
	CHECK(n >= 32 && n < 50);
	CHECK_EQ(touch(vm, LARGE, SMALL, 3), 0);
	check_words(mem, LARGE, SMALL, 3);
	vm_destroy(vm);
}

static void try_large(u8 *mem, u64 size, u64 least, u64 most)
{
	struct vm *vm = vm_with(mem, size);
	u64 n = touch(vm, size, SMALL, 2);

	tap_note("%lu faults for %lu KiB", n, size >> 10);
	CHECK(n >= least && n <= most);
	CHECK_EQ(touch(vm, size, SMALL, 3), 0);
	check_words(mem, size, SMALL, 3);
	vm_destroy(vm);
}

TEST(large_pages)
{
	u8 *mem;

	set_number("/proc/sys/vm/nr_hugepages", "4");
	mem = huge_pages(4 * LARGE, 0);
	REQUIRE(mem);
	try_large(mem, 4 * LARGE, 4, 6);
	/* The slot's last page of 2M is not whole: its half is in small ones. */
	try_large(mem, 2 * LARGE + LARGE / 2, 2 + 32, 2 + 256);
	/* Nowhere do both addresses fit. */
	try_large(mem + SMALL, 2 * LARGE, 2 * 64, 2 * 512);
	munmap(mem, 4 * LARGE);
	set_number("/proc/sys/vm/nr_hugepages", "0");
}

static bool asked_for_giant(void)
{
	char line[4096] = "";
	FILE *f = fopen("/proc/cmdline", "r");
	bool found = f && fgets(line, sizeof(line), f) && strstr(line, "hugepagesz=1G");

	if (f)
		fclose(f);
	return found;
}

/*
 * On AMD the CPU's page size is nested paging's, too; on Intel EPT has a bit of its own, of which
 * the module tells.
 */
static bool nested_paging_has_giant(void)
{
	u32 regs[4];
	bool told;
	int fd;

	if (host_is_amd()) {
		cpuid(0x80000001, 0, regs);
		return regs[3] >> 26 & 1;
	}
	fd = kmsg_open(true);
	told = kmsg_says(fd, "strata: VMX with", " EPT-1G");
	close(fd);
	return told;
}

static u8 *giant_page(void)
{
	u8 *mem;

	if (!asked_for_giant())
		tap_skip("the host was not booted with hugepagesz=1G");
	if (!nested_paging_has_giant())
		tap_skip("nested paging has no pages of 1G, as far as is known");
	mem = huge_pages(GIANT, HUGE_1G);
	REQUIRE(mem);
	return mem;
}

TEST_TIMEOUT(giant_pages, 120)
{
	u8 *mem = giant_page();
	struct vm *vm = vm_with(mem, GIANT);
	u64 n = touch(vm, GIANT, LARGE, 2);

	CHECK(n >= 1 && n <= 3);
	check_words(mem, GIANT, LARGE, 2);
	vm_destroy(vm);
	/* Half of it has pages of 2M. */
	vm = vm_with(mem, GIANT / 2);
	n = touch(vm, GIANT / 2, LARGE, 3);
	CHECK(n >= 256 && n <= 258);
	check_words(mem, GIANT / 2, LARGE, 3);
	vm_destroy(vm);
}

static u64 dirty_pages(struct vm *vm, u64 size, u64 *first)
{
	static u64 bitmap[GIANT / SMALL / 64];
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };
	u64 i, n = 0;

	memset(bitmap, 0xff, size / SMALL / 8);
	REQUIRE_EQ(kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log), 0);
	for (i = size / SMALL; i--;)
		if (bitmap[i / 64] >> (i % 64) & 1) {
			n++;
			*first = i;
		}
	return n;
}

/* Logging splits the page where it is written, and leaves the rest to be written as before. */
TEST_TIMEOUT(giant_page_under_dirty_log, 120)
{
	u8 *mem = giant_page();
	struct vm *vm = vm_with(mem, GIANT);
	u64 first = ~0ull, n;

	touch(vm, GIANT, LARGE, 2);
	REQUIRE_EQ(vm_set_slot(vm, 1, KVM_MEM_LOG_DIRTY_PAGES, GPA, GIANT, mem), 0);
	touch(vm, LARGE, LARGE, 3);
	CHECK_EQ(dirty_pages(vm, GIANT, &first), 1);
	CHECK_EQ(first, 0);
	CHECK_EQ(dirty_pages(vm, GIANT, &first), 0);
	touch(vm, GIANT, 64 * LARGE, 4);
	CHECK_EQ(dirty_pages(vm, GIANT, &first), 8);
	CHECK_EQ(first, 0);
	CHECK_EQ(*(u64 *)(mem + LARGE + 8), GPA + LARGE + 2);
	check_words(mem, GIANT, 64 * LARGE, 4);
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, GPA, GIANT, mem), 0);
	n = touch(vm, GIANT, LARGE, 5);
	tap_note("%lu faults behind it", n);
	CHECK(n <= 512 + 8);
	CHECK_EQ(touch(vm, GIANT, LARGE, 6), 0);
	check_words(mem, GIANT, LARGE, 6);
	vm_destroy(vm);
}

/*
 * A range that goes is flushed once, or a few times if others want the lock meanwhile, not page by
 * page.
 */
TEST(flushes_are_batched)
{
	u64 size = 4 * LARGE, before, n;
	u8 *mem = host_alloc(size, LARGE);
	struct vm *vm;
	int fd;

	STRATA_ONLY("its counter of flushes");
	madvise(mem, size, MADV_NOHUGEPAGE);
	vm = vm_with(mem, size);
	fd = xioctl(vm->fd, KVM_GET_STATS_FD, NULL);
	touch(vm, size, SMALL, 2);
	check_words(mem, size, SMALL, 2);
	before = stat_value(fd, "remote_tlb_flush");
	REQUIRE(!madvise(mem, size, MADV_DONTNEED));
	n = stat_value(fd, "remote_tlb_flush") - before;
	tap_note("%lu flushes for %llu pages", n, size / SMALL);
	CHECK(n >= 1 && n <= 16);
	CHECK(touch(vm, size, SMALL, 3) > 0);
	check_words(mem, size, SMALL, 3);
	before = stat_value(fd, "remote_tlb_flush");
	REQUIRE_EQ(vm_set_slot(vm, 1, 0, GPA, 0, NULL), 0);
	n = stat_value(fd, "remote_tlb_flush") - before;
	CHECK(n >= 1 && n <= 16);
	vm_destroy(vm);
}

#define RACERS	4
#define RACE	(2 * LARGE)

static volatile u64 gate[64];	/* by round */

/* In each round all begin at once, and add to a word of each page. */
static void guest_race(u64 me)
{
	u64 round, gpa;

	guest_sti();
	for (round = 0;; round++) {
		asm volatile("lock incq %0" : "+m"(gate[round]));
		while (gate[round] < RACERS)
			guest_pause();
		for (gpa = GPA; gpa < GPA + RACE; gpa += SMALL)
			asm volatile("lock incq %0" : "+m"(*(volatile u64 *)(gpa + 8 * (me & 1))));
		guest_sync(round);
	}
}

struct racer {
	struct vcpu *vcpu;
	u64 round;
};

static void *race(void *arg)
{
	struct racer *r = arg;

	RUN_UNTIL_SYNC(r->vcpu, r->round);
	return NULL;
}

TEST_TIMEOUT(faults_in_parallel, 120)
{
	u8 *mem = host_alloc(RACE, LARGE);
	struct vm *vm = vm_create(RACERS);
	struct racer racers[RACERS];
	pthread_t threads[RACERS];
	u64 round, off;
	int i;

	REQUIRE_EQ(vm_set_slot(vm, 1, 0, GPA, RACE, mem), 0);
	for (i = 0; i < RACERS; i++)
		vcpu_set_long(&vm->vcpu[i], guest_race, i);
	for (round = 0; round < 12; round++) {
		/* By turns in small and in large pages */
		madvise(mem, RACE, round & 1 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		REQUIRE(!madvise(mem, RACE, MADV_DONTNEED));
		for (i = 0; i < RACERS; i++) {
			racers[i] = (struct racer){ &vm->vcpu[i], round };
			REQUIRE(!pthread_create(&threads[i], NULL, race, &racers[i]));
		}
		for (i = 0; i < RACERS; i++)
			pthread_join(threads[i], NULL);
		for (off = 0; off < RACE; off += SMALL)
			if (*(u64 *)(mem + off) != RACERS / 2 ||
			    *(u64 *)(mem + off + 8) != RACERS / 2)
				break;
		CHECK_EQ(off, RACE);
	}
	vm_destroy(vm);
}
