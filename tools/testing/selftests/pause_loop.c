// SPDX-License-Identifier: GPL-2.0
/*
 * What: two vCPUs on one host CPU wait for each other by turns in loops of PAUSE, with IF clear and
 * set.
 * Conditions: none. Whether loops of PAUSE exit depends on the CPU; on Bochs' AMD models, where a
 * guest whose IF is clear is not left for the host's interrupts, there is no way on without.
 * Expected: both come to the end: who waits gives the CPU away.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>

#include "cpu.h"

#define ROUNDS 60

static volatile u64 turn, use_if;

static void guest_turns(void)
{
	u64 id = this_cpu()->id, i;

	if (use_if)
		guest_sti();
	for (i = 0; i < ROUNDS; i++) {
		while (turn != 2 * i + id)
			guest_pause();
		turn = turn + 1;
	}
	guest_done();
}

static void *run_vcpu(void *arg)
{
	RUN_UNTIL_DONE((struct vcpu *)arg);
	return NULL;
}

static void wait_for_each_other(bool with_if)
{
	struct vm *vm = vm_create(2);
	pthread_t thread[2];
	unsigned int i;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	REQUIRE(!sched_setaffinity(0, sizeof(one), &one));
	*guest_var(vm, &use_if) = with_if;
	for (i = 0; i < 2; i++)
		vcpu_set_long(&vm->vcpu[i], guest_turns, 0);
	for (i = 0; i < 2; i++)
		REQUIRE(!pthread_create(&thread[i], NULL, run_vcpu, &vm->vcpu[i]));
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	CHECK_EQ(*guest_var(vm, &turn), 2 * ROUNDS);
	vm_destroy(vm);
}

TEST(interrupts_masked)
{
	wait_for_each_other(false);
}

TEST(interrupts_enabled)
{
	wait_for_each_other(true);
}
