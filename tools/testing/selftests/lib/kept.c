// SPDX-License-Identifier: GPL-2.0
/*
 * A guest, or a guest's guest, that is moved; see kept.h.
 */
#include "kept.h"

volatile struct kept_seen kept_seen;
struct vm_config kept_config;
struct vm_state kept_state, kept_again;

static bool moves_l2;

void kept_on_event(struct guest_frame *f)
{
	u64 n = kept_seen.n++, dr6;

	if (n < 8) {
		kept_seen.vector[n] = f->vector;
		kept_seen.rip[n] = f->rip;
		kept_seen.error[n] = f->error;
	}
	if (f->vector == PF_VECTOR)
		kept_seen.address = read_cr2();
	if (f->vector == DB_VECTOR) {
		asm volatile("mov %%dr6, %0" : "=r"(dr6));
		kept_seen.dr6 = dr6;
	}
	f->rflags &= ~RFLAGS_TF;
}

static struct vm *create(const struct vm_config *config)
{
	u32 i;

	kept_config = *config;
	kept_config.nr_vcpus = 1;
	kept_config.triple_fault = true;
	kept_config.strata_events = on_strata() && !env_number("EVENTS_PLAIN", 0);
	for (i = 0; i < 256; i++)
		guest_handlers[i] = kept_on_event;
	return vm_create_with(&kept_config, NULL);
}

struct vm *kept_create(enum vm_irqchip irqchip, bool payload)
{
	return create(&(struct vm_config) { .irqchip = irqchip, .payload = payload });
}

struct vm *kept_create_l1(bool each)
{
	need_svm();
	moves_l2 = true;
	return create(&(struct vm_config) { .payload = true, .each = each });
}

void kept_stop(struct vm *vm)
{
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	REQUIRE_EQ(vm->vcpu->run->io.port, PORT_STOP);
	if (vm->vcpu->run->io.direction == KVM_EXIT_IO_OUT)
		vcpu_run_nothing(vm->vcpu);
}

struct vm *kept_move(struct vm *vm)
{
	struct vm *to = vm_create_with(&kept_config, vm);
	/* Of L2 in the in-tree module only the events themselves are looked at. */
	bool all = on_strata() || !moves_l2;

	state_save(vm, &kept_config, NULL, &kept_state);
	state_save(vm, &kept_config, NULL, &kept_again);
	if (all)
		state_differs("a second round of GETs", &kept_config, &kept_state, &kept_again);
	if (moves_l2)
		REQUIRE(kept_state.vcpu->nested.flags & KVM_STATE_NESTED_GUEST_MODE);
	state_restore(to, &kept_config, state_qemu_order, false, &kept_state);
	state_save(to, &kept_config, NULL, &kept_again);
	if (all)
		state_differs("the restored vCPU", &kept_config, &kept_state, &kept_again);
	return to;
}

void kept_pend(struct kvm_vcpu_events *e, u8 nr, u32 error, u64 payload)
{
	e->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	e->exception.pending = 1;
	e->exception.nr = nr;
	e->exception.has_error_code = 1;
	e->exception.error_code = error;
	e->exception_has_payload = 1;
	e->exception_payload = payload;
}
