// SPDX-License-Identifier: GPL-2.0
/*
 * What: kind and length of a soft event in delivery, which only struct strata_events has: INT3 with
 * a prefix, an INT n that is not at RIP, INT1. Set, moved into a new VM, and run there.
 * Conditions: STRATA_CAP_EVENTS. Bochs' SVM pushes RIP whatever the next-RIP field says.
 * Expected: the event is delivered once, and pushes the address as many bytes behind RIP.
 */
#include <string.h>

#include "../../../include/uapi/linux/strata.h"
#include "cpu.h"
#include "emulator.h"
#include "state.h"

static const struct vm_config config = { .nr_vcpus = 1, .payload = true, .triple_fault = true, .strata_events = true };
static struct vm_state state, again;
static volatile u64 n, vector, rip, at;

static void on_event(struct guest_frame *f)
{
	n++;
	vector = f->vector;
	rip = f->rip;
}

static void guest_nops(void)
{
	asm volatile("lea 1f(%%rip), %%rcx; mov %%rcx, %0\n\toutl %%eax, %1\n1:\tnop; nop; nop; nop" : "=m"(at) : "d"((u16)0x700) : "rcx", "memory");
	guest_done();
}

static void delivered(u8 kind, u8 nr, u8 len)
{
	struct strata_events s = { .flags = STRATA_EVENTS_VALID, .delivering_kind = kind, .delivering_len = len }, now;
	struct kvm_vcpu_events e;
	struct vm *vm, *to;
	u8 order[NR_PARTS];
	u64 seed = len;

	STRATA_ONLY("its own capability");
	if (host_is_bochs_svm())
		tap_skip("Bochs pushes RIP");
	guest_handlers[nr] = on_event;
	vm = vm_create_with(&config, NULL);
	/* An INT n with IF clear and no instruction is what is tested here. */
	*guest_var(vm, &guest_under_tcg) = false;
	vcpu_set_long(vm->vcpu, guest_nops, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.exception.injected = kind != STRATA_EVENT_SOFT_INT;
	e.interrupt.injected = e.interrupt.soft = kind == STRATA_EVENT_SOFT_INT;
	e.exception.nr = e.interrupt.nr = nr;
	memcpy(e.reserved, &s, sizeof(s));
	xioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	state_save(vm, &config, NULL, &state);
	memcpy(&now, state.vcpu->events.reserved, sizeof(now));
	CHECK_EQ(now.delivering_kind, kind);
	CHECK_EQ(now.delivering_len, len);
	to = vm_create_with(&config, vm);
	state_shuffle(&seed, order);
	state_restore(to, &config, order, false, &state);
	state_save(to, &config, NULL, &again);
	state_differs("the restored vCPU", &config, &state, &again);
	RUN_UNTIL_DONE(to->vcpu);
	CHECK_EQ(*guest_var(vm, &n), 1);
	CHECK_EQ(*guest_var(vm, &vector), nr);
	CHECK_EQ(*guest_var(vm, &rip), *guest_var(vm, &at) + len);
	vm_destroy(to);
	vm_destroy(vm);
}

TEST(int3_of_two_bytes)	{ delivered(STRATA_EVENT_SOFT_EXCEPTION, BP_VECTOR, 2); }
TEST(int_n_elsewhere)	{ delivered(STRATA_EVENT_SOFT_INT, 0x80, 3); }
TEST(int1)		{ delivered(STRATA_EVENT_PRIV_EXCEPTION, DB_VECTOR, 1); }
