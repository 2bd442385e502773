// SPDX-License-Identifier: GPL-2.0
/*
 * A guest's guest that is moved; see nested_kept.h.
 */
#include "nested_kept.h"

volatile struct kept_seen kept_seen;
struct vm_config kept_config;
struct vm_state kept_state, kept_again;

static void on_event(struct guest_frame *f)
{
	u64 n = kept_seen.n++;

	if (n < 8) {
		kept_seen.vector[n] = f->vector;
		kept_seen.rip[n] = f->rip;
		kept_seen.error[n] = f->error;
	}
	if (f->vector == PF_VECTOR)
		kept_seen.value = read_cr2();
}

struct vm *kept_create(bool each)
{
	u32 i;

	need_svm();
	kept_config = (struct vm_config){
		.nr_vcpus = 1, .payload = true, .triple_fault = true, .each = each,
		.strata_events = on_strata() && !env_number("EVENTS_PLAIN", 0),
	};
	for (i = 0; i < 256; i++)
		guest_handlers[i] = on_event;
	return vm_create_with(&kept_config, NULL);
}

struct vm *kept_move(struct vm *vm)
{
	struct vm *to = vm_create_with(&kept_config, vm);

	state_save(vm, &kept_config, NULL, &kept_state);
	state_save(vm, &kept_config, NULL, &kept_again);
	/* Elsewhere only the events themselves are looked at. */
	if (on_strata())
		state_differs("a second round of GETs", &kept_config, &kept_state, &kept_again);
	REQUIRE(kept_state.vcpu->nested.flags & KVM_STATE_NESTED_GUEST_MODE);
	state_restore(to, &kept_config, state_qemu_order, false, &kept_state);
	state_save(to, &kept_config, NULL, &kept_again);
	if (on_strata())
		state_differs("the restored vCPU", &kept_config, &kept_state, &kept_again);
	return to;
}
