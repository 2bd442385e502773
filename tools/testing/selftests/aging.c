// SPDX-License-Identifier: GPL-2.0
/*
 * What: the host asks which pages of a guest's memory are used (DAMON: mmu_notifier_clear_young(),
 * then mmu_notifier_test_young()), while the guest, or an L2 of its own, writes them and leaves
 * them alone; while its writes are logged; while its pages and slots are taken away.
 * Conditions: root, a host kernel with DAMON; for L2, nested paging of SVM.
 * Expected: memory is used while the guest uses it, and is not soon after. Who looks changes
 * nothing: each write is in the next log, none is lost.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "npt.h"
#include "power.h"

#define GPA	0x10000000ull
#define OTHER	0x20000000ull
#define PAGES	64ull
#define SIZE	(PAGES << 12)
#define ROUNDS	40

#define DAMON	"/sys/kernel/mm/damon/admin/kdamonds/"
#define CONTEXT	DAMON "0/contexts/0/"
#define SCHEME	CONTEXT "schemes/0/"

/*
 * Between the host and the guest: to write the memory in each round; how many rounds there were; to
 * end
 */
static volatile u64 use, rounds, stop;
static struct npt npt;

static void use_memory(u64 base)
{
	u64 i, n, cr3;

	guest_sti();
	while (!stop) {
		n = use ? PAGES : 0;
		for (i = 0; i < n; i++)
			*(volatile u64 *)(base + (i << 12)) = rounds;
		rounds++;
		/* A translation in the TLB sets no A bit. */
		asm volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(cr3) : : "memory");
	}
}

static void guest_uses(void)
{
	use_memory(GPA);
	guest_done();
}

static void l2_uses(void)
{
	use_memory(NPT_PLAY);
	guest_done();
}

static void guest_l1(void)
{
	u64 off;

	npt_guest_init(&npt, NPT_4LEVEL);
	for (off = 0; off < SIZE; off += 4096)
		npt_set(&npt, NPT_PLAY + off, 1, (GPA + off) | NPT_RWX);
	svm_guest_restart(l2_uses);
	for (;;)
		GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), 0);
}

static void damon_set(const char *file, u64 value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lu", value);
	if (!sysfs_write(file, text))
		tap_die(__FILE__, __LINE__, "%s: %s: %m", file, text);
}

static void damon_start(const void *mem)
{
	if (access(DAMON, F_OK))
		tap_skip("no DAMON");
	damon_set(DAMON "nr_kdamonds", 1);
	damon_set(DAMON "0/contexts/nr_contexts", 1);
	REQUIRE(sysfs_write(CONTEXT "operations", "fvaddr"));
	damon_set(CONTEXT "monitoring_attrs/intervals/sample_us", 2000);
	damon_set(CONTEXT "monitoring_attrs/intervals/aggr_us", 20000);
	damon_set(CONTEXT "targets/nr_targets", 1);
	damon_set(CONTEXT "targets/0/pid_target", getpid());
	damon_set(CONTEXT "targets/0/regions/nr_regions", 1);
	damon_set(CONTEXT "targets/0/regions/0/start", (u64)mem);
	damon_set(CONTEXT "targets/0/regions/0/end", (u64)mem + SIZE);
	damon_set(CONTEXT "schemes/nr_schemes", 1);
	REQUIRE(sysfs_write(SCHEME "action", "stat"));
	damon_set(SCHEME "access_pattern/sz/max", SIZE);
	damon_set(SCHEME "access_pattern/nr_accesses/min", 1);
	damon_set(SCHEME "access_pattern/nr_accesses/max", 1000);
	damon_set(SCHEME "access_pattern/age/max", ~0u);
	REQUIRE(sysfs_write(DAMON "0/state", "on"));
}

static void damon_stop(void)
{
	REQUIRE(sysfs_write(DAMON "0/state", "off"));
	damon_set(DAMON "nr_kdamonds", 0);
}

/* Bytes of the memory that were used of late */
static u64 damon_used(void)
{
	char text[24];

	REQUIRE(sysfs_write(DAMON "0/state", "update_schemes_tried_bytes"));
	REQUIRE(sysfs_read(SCHEME "tried_regions/total_bytes", text, sizeof(text)));
	return strtoull(text, NULL, 10);
}

struct watched {
	struct vm *vm;
	u64 *mem;
	pthread_t thread;
};

static void *run_to_done(void *vcpu)
{
	RUN_UNTIL_DONE((struct vcpu *)vcpu);
	return NULL;
}

static void watch(struct watched *w, void *fn, u32 flags)
{
	w->mem = host_alloc(SIZE, SIZE);
	w->vm = vm_create(1);
	REQUIRE_EQ(vm_set_slot(w->vm, 1, flags, GPA, SIZE, w->mem), 0);
	*guest_var(w->vm, &use) = 1;
	damon_start(w->mem);
	vcpu_set_long(w->vm->vcpu, fn, 0);
	pthread_create(&w->thread, NULL, run_to_done, w->vm->vcpu);
}

static void unwatch(struct watched *w)
{
	*guest_var(w->vm, &stop) = 1;
	pthread_join(w->thread, NULL);
	damon_stop();
	vm_destroy(w->vm);
	munmap(w->mem, SIZE);
}

/* The guest has done a round that began after now. */
static void wait_round(struct watched *w)
{
	volatile u64 *now = guest_var(w->vm, &rounds);
	u64 old = *now;

	while (*now < old + 2)
		usleep(500);
}

static void used_and_not(void *fn)
{
	struct watched w;
	int i;

	watch(&w, fn, 0);
	for (i = 0; i < 3; i++) {
		*guest_var(w.vm, &use) = 1;
		while (!damon_used())
			usleep(10000);
		*guest_var(w.vm, &use) = 0;
		while (damon_used())
			usleep(10000);
	}
	unwatch(&w);
}

TEST(used_and_not_used) { used_and_not(guest_uses); }

TEST(used_and_not_used_by_l2)
{
	need_npt();
	used_and_not(guest_l1);
}

TEST(beside_the_dirty_log)
{
	u64 log[PAGES / 64];
	struct kvm_dirty_log get = { .slot = 1, .dirty_bitmap = log };
	struct watched w;
	int i;

	watch(&w, guest_uses, KVM_MEM_LOG_DIRTY_PAGES);
	for (i = 0; i < ROUNDS; i++) {
		xioctl(w.vm->fd, KVM_GET_DIRTY_LOG, &get);
		wait_round(&w);
		xioctl(w.vm->fd, KVM_GET_DIRTY_LOG, &get);
		CHECK_EQ(log[0], ~0ull);
	}
	*guest_var(w.vm, &use) = 0;
	wait_round(&w);
	xioctl(w.vm->fd, KVM_GET_DIRTY_LOG, &get);
	xioctl(w.vm->fd, KVM_GET_DIRTY_LOG, &get);
	CHECK_EQ(log[0], 0);
	unwatch(&w);
}

/* A second slot with the same memory comes and goes; the pages go, too. */
TEST(beside_changes)
{
	struct watched w;
	u64 i, first;

	watch(&w, guest_uses, 0);
	for (i = 0; i < ROUNDS; i++) {
		REQUIRE_EQ(vm_set_slot(w.vm, 2, 0, OTHER, SIZE, w.mem), 0);
		wait_round(&w);
		REQUIRE(!madvise(w.mem, SIZE, MADV_DONTNEED));
		REQUIRE_EQ(vm_set_slot(w.vm, 2, 0, OTHER, 0, w.mem), 0);
		wait_round(&w);
	}
	*guest_var(w.vm, &use) = 0;
	wait_round(&w);
	first = w.mem[0];
	CHECK(first);
	for (i = 0; i < PAGES; i++)
		CHECK_EQ(w.mem[i * 512], first);
	unwatch(&w);
}
