// SPDX-License-Identifier: GPL-2.0
/*
 * What: memory is copied as live migration does it, by the dirty log, while two vCPUs write the
 * same pages and the host takes translations away (a child has the pages for a moment; they grow
 * old) and turns the log off and on. Small and huge pages, the log cleared when it is read, or by
 * hand.
 * Conditions: none.
 * Expected: when the vCPUs have stopped and the last log was read, the copy is the memory: no write
 * was missed.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu.h"

#define GPA	0x10000000ull
#define PAGES	1024ull
#define SIZE	(PAGES * 4096)
#define LOG	KVM_MEM_LOG_DIRTY_PAGES
#define CYCLES	2
#define ROUNDS	15

static volatile u64 stop, written[2];

static void guest_writes(u64 me)
{
	u64 n = 1, page;

	guest_sti();
	while (!stop) {
		n = n * 6364136223846793005ull + 1442695040888963407ull;
		page = n >> 33 & (PAGES - 1);
		*(volatile u64 *)(GPA + page * 4096 + 8 * me) = n;
		written[me]++;
	}
	guest_done();
}

static void *run_to_done(void *vcpu)
{
	RUN_UNTIL_DONE((struct vcpu *)vcpu);
	return NULL;
}

struct migration {
	struct vm *vm;
	u8 *mem, *copy;
	bool manual;
	u64 bitmap[PAGES / 64];
	u64 copied;
};

static void copy_dirty(struct migration *m)
{
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = m->bitmap };
	struct kvm_clear_dirty_log clear = { .slot = 1, .num_pages = PAGES, .dirty_bitmap = m->bitmap };
	u64 page;

	xioctl(m->vm->fd, KVM_GET_DIRTY_LOG, &log);
	if (m->manual)
		xioctl(m->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear);
	for (page = 0; page < PAGES; page++) {
		if (m->bitmap[page / 64] >> (page % 64) & 1) {
			memcpy(m->copy + page * 4096, m->mem + page * 4096, 4096);
			m->copied++;
		}
	}
}

/* All pages are shared with the child: the next write to each makes a copy. */
static void share_for_a_moment(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	REQUIRE(pid > 0 && waitpid(pid, NULL, 0) == pid);
}

static void wait_writes(struct vm *vm, int me, u64 n)
{
	volatile u64 *now = guest_var(vm, &written[me]);
	u64 old = *now;

	while (*now < old + n)
		usleep(500);
}

static void migrate(struct migration *m, bool disturb)
{
	pthread_t thread[2];
	u64 page, differ = 0;
	int i;

	*guest_var(m->vm, &stop) = 0;
	for (i = 0; i < 2; i++) {
		vcpu_set_long(&m->vm->vcpu[i], guest_writes, i);
		pthread_create(&thread[i], NULL, run_to_done, &m->vm->vcpu[i]);
	}
	REQUIRE_EQ(vm_set_slot(m->vm, 1, LOG, GPA, SIZE, m->mem), 0);
	memcpy(m->copy, m->mem, SIZE);
	m->copied = 0;
	for (i = 0; i < ROUNDS; i++) {
		wait_writes(m->vm, i & 1, 50);
		if (disturb && i % 5 == 0)
			share_for_a_moment();
		if (disturb && i % 5 == 2)
			madvise(m->mem, SIZE, MADV_COLD);
		copy_dirty(m);
	}
	*guest_var(m->vm, &stop) = 1;
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	copy_dirty(m);
	for (page = 0; page < PAGES; page++)
		differ += !!memcmp(m->mem + page * 4096, m->copy + page * 4096, 4096);
	CHECK_EQ(differ, 0);
	CHECK(m->copied);
	REQUIRE_EQ(vm_set_slot(m->vm, 1, 0, GPA, SIZE, m->mem), 0);
}

static void migrations(bool huge, bool manual, bool disturb)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE } };
	struct migration m = { .manual = manual };
	int i;

	m.vm = vm_create(2);
	if (manual)
		xioctl(m.vm->fd, KVM_ENABLE_CAP, &cap);
	m.mem = host_alloc(SIZE, 2 << 20);
	m.copy = host_alloc(SIZE, 4096);
	madvise(m.mem, SIZE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(m.mem, 0, SIZE);
	REQUIRE_EQ(vm_set_slot(m.vm, 1, 0, GPA, SIZE, m.mem), 0);
	for (i = 0; i < CYCLES; i++)
		migrate(&m, disturb);
	vm_destroy(m.vm);
	munmap(m.mem, SIZE);
	munmap(m.copy, SIZE);
}

TEST_TIMEOUT(small, 120) { migrations(false, false, false); }
TEST_TIMEOUT(huge, 120) { migrations(true, false, false); }
TEST_TIMEOUT(by_hand, 120) { migrations(true, true, false); }
TEST_TIMEOUT(disturbed, 120) { migrations(true, false, true); }
TEST_TIMEOUT(disturbed_by_hand, 120) { migrations(false, true, true); }
