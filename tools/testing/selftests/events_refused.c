// SPDX-License-Identifier: GPL-2.0
/*
 * What: each reason to refuse KVM_SET_VCPU_EVENTS, with and without the capabilities; and every
 * getter, again and again.
 * Conditions: strata.
 * Expected: -EINVAL, and all GETs as before; the same from getters however often they are called.
 */
#include <errno.h>
#include <string.h>

#include "../../../include/uapi/linux/strata.h"
#include "cpu.h"
#include "state.h"

static struct vm_config config;
static struct vm_state before, after;

static void guest_idle(void)
{
	for (;;)
		out32(0x600, 1);
}

static void put(struct kvm_vcpu_events *e, struct strata_events s)
{
	memcpy(e->reserved, &s, sizeof(s));
}

/* Something in each place that a SET could lose, and in the inbox */
static void fill(struct vcpu *vcpu, bool caps)
{
	struct kvm_vcpu_events e;

	xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	e.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
		   KVM_VCPUEVENT_VALID_SMM;
	e.smi.latched_init = 1;
	e.interrupt.shadow = KVM_X86_SHADOW_INT_MOV_SS;
	e.exception.injected = 1;
	e.exception.nr = PF_VECTOR;
	e.exception.has_error_code = 1;
	e.exception.error_code = PF_WRITE;
	if (caps) {
		e.flags |= KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
		e.exception.injected = 0;
		e.exception.pending = 1;
		e.exception_has_payload = 1;
		e.exception_payload = 0x123000;
		e.triple_fault.pending = 1;
		put(&e, (struct strata_events){ .flags = STRATA_EVENTS_VALID | STRATA_EVENTS_STASH, .pending_kind = STRATA_EVENT_EXCEPTION,
						.stash_nr = 0x33, .pending_dbg = 2, .smm_dbg = 1 });
	} else {
		e.interrupt.injected = 1;
		e.interrupt.nr = 0x33;
	}
	xioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &e);
	xioctl(vcpu->fd, KVM_NMI, NULL);
	xioctl(vcpu->fd, KVM_SMI, NULL);
}

static struct vm *stopped(bool caps)
{
	struct vm *vm;

	STRATA_ONLY("a refusal changes nothing");
	config = (struct vm_config){
		.nr_vcpus = 1, .irqchip = CHIP_FULL, .payload = caps, .triple_fault = caps, .strata_events = caps,
	};
	vm = vm_create_with(&config, NULL);
	vcpu_set_long(vm->vcpu, guest_idle, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	fill(vm->vcpu, caps);
	return vm;
}

static void refused(int line, struct vm *vm, const struct kvm_vcpu_events *e)
{
	int r;

	state_save(vm, &config, NULL, &before);
	r = kvm_ioctl(vm->vcpu->fd, KVM_SET_VCPU_EVENTS, (void *)e);
	if (r != -EINVAL)
		tap_fail(__FILE__, line, "KVM_SET_VCPU_EVENTS returns %d", r);
	state_save(vm, &config, NULL, &after);
	if (state_differs("after the refusal", &config, &before, &after))
		tap_fail(__FILE__, line, "this refusal changed something");
}

#define REFUSED(vm, change)							\
	do {									\
		struct kvm_vcpu_events e;					\
										\
		xioctl((vm)->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);		\
		/* Everything else is legal, and would change the vCPU. */	\
		e.nmi.masked = 1;						\
		e.nmi.pending = 0;						\
		e.interrupt.shadow = KVM_X86_SHADOW_INT_STI;			\
		e.interrupt.injected = 1;					\
		e.interrupt.nr = 0x55;						\
		e.smi.pending = e.smi.latched_init = 0;				\
		e.exception.pending = 0;					\
		e.triple_fault.pending = 0;					\
		change;								\
		refused(__LINE__, vm, &e);					\
	} while (0)

TEST(plain)
{
	struct vm *vm = stopped(false);
	unsigned int bit;

	for (bit = 6; bit < 32; bit++)
		REFUSED(vm, e.flags |= 1u << bit);
	REFUSED(vm, e.flags |= KVM_VCPUEVENT_VALID_PAYLOAD);
	REFUSED(vm, e.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT);
	REFUSED(vm, (e.exception.injected = 1, e.exception.nr = 32));
	REFUSED(vm, (e.exception.injected = 1, e.exception.nr = 255));
	REFUSED(vm, (e.exception.injected = 1, e.exception.nr = NMI_VECTOR));
	vm_destroy(vm);
}

TEST(with_capabilities)
{
	struct vm *vm = stopped(true);
	unsigned int i;

	REFUSED(vm, e.flags |= 1u << 31);
	REFUSED(vm, (e.flags |= KVM_VCPUEVENT_VALID_PAYLOAD, e.exception.pending = 1, e.exception.nr = 32));
	REFUSED(vm, (e.flags |= KVM_VCPUEVENT_VALID_PAYLOAD, e.exception.pending = 1, e.exception.nr = NMI_VECTOR));
	REFUSED(vm, put(&e, (struct strata_events){ .stash_nr = 1 }));
	REFUSED(vm, put(&e, (struct strata_events){ .flags = 0xf1 }));
	REFUSED(vm, put(&e, (struct strata_events){ .flags = STRATA_EVENTS_VALID, .delivering_kind = 7 }));
	REFUSED(vm, put(&e, (struct strata_events){ .flags = STRATA_EVENTS_VALID, .delivering_len = 16 }));
	REFUSED(vm, put(&e, (struct strata_events){ .flags = STRATA_EVENTS_VALID, .pending_len = 16 }));
	REFUSED(vm, put(&e, (struct strata_events){ .flags = STRATA_EVENTS_VALID, .pending_kind = STRATA_EVENT_NMI }));
	REFUSED(vm, put(&e, (struct strata_events){ .flags = STRATA_EVENTS_VALID, .stash_nr = 1 }));
	REFUSED(vm, put(&e, (struct strata_events){ .flags = STRATA_EVENTS_VALID, .pending_dbg = 1 << 5 }));
	REFUSED(vm, put(&e, (struct strata_events){ .flags = STRATA_EVENTS_VALID, .smm_dbg = 1u << 31 }));
	REFUSED(vm, put(&e, (struct strata_events){ .flags = STRATA_EVENTS_VALID, .io_len = 2 }));
	REFUSED(vm, put(&e, (struct strata_events){ .flags = STRATA_EVENTS_VALID, .io_flags = STRATA_IO_VALID, .io_len = 2 }));
	REFUSED(vm, put(&e, (struct strata_events){ .flags = STRATA_EVENTS_VALID, .io_flags = STRATA_IO_VALID | STRATA_IO_8 }));
	REFUSED(vm, put(&e, (struct strata_events){ .flags = STRATA_EVENTS_VALID, .io_flags = STRATA_IO_VALID | STRATA_IO_8, .io_len = 2, .io_asize = 3 }));
	for (i = 0; i < sizeof(((struct strata_events *)0)->reserved); i++) {
		struct strata_events s = { .flags = STRATA_EVENTS_VALID };

		s.reserved[i] = 1;
		REFUSED(vm, put(&e, s));
	}
	vm_destroy(vm);
}

TEST(getters)
{
	struct vm *vm = stopped(true);
	u64 seed = 1;
	u8 order[NR_PARTS];
	unsigned int i;

	state_save(vm, &config, NULL, &before);
	for (i = 0; i < 20; i++) {
		state_shuffle(&seed, order);
		state_save(vm, &config, order, &after);
		state_differs("getters in another order", &config, &before, &after);
	}
	vm_destroy(vm);
}
