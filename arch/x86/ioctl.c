// SPDX-License-Identifier: GPL-2.0
/*
 * Capabilities, and the ioctls about a vCPU's events and the VM's few x86 settings.
 */
#include "ioctl.h"
#include "backend.h"
#include "exit.h"
#include "halt.h"
#include "cpu/rows.h"
#include "event/abi.h"
#include "mmu/shadow.h"
#include "nested/nested.h"
#include "trace_queue.h"

#include "../../virt/arch.h"
#include "../../virt/ioctl.h"
#include "../../include/compat/memory.h"

#include <linux/uaccess.h>
#include <linux/strata.h>

/* ---- events ---- */

struct event_abi vcpu_event_abi(struct vcpu *v)
{
	const struct vm *vm = vcpu_vm(v);

	return (struct event_abi) {
		.payload = vm->exception_payload,
		.triple_fault = vm->triple_fault_event,
		.smm = true,
		.strata = vm->strata_events,
	};
}

static long get_vcpu_events(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	vcpu_events_get(to_vcpu(vv), data);
	return 0;
}

static long set_vcpu_events(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	return vcpu_events_set(to_vcpu(vv), data);
}

static long vcpu_interrupt(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct vcpu *v = to_vcpu(vv);
	const struct kvm_interrupt *irq = data;
	int ret;

	if (irq->irq > 255)
		return -EINVAL;
	if (vcpu_vm(v)->irqchip == IRQCHIP_FULL)
		return -ENXIO;
	ret = event_interrupt(&v->events, irq->irq);
	if (!ret)
		trace_strata_event_queued(v, PLACE_STASH, EVENT_INTERRUPT, irq->irq);
	return ret;
}

static const u8 inbox_kind[] = {
	[INBOX_NMI]	= EVENT_NMI,
	[INBOX_NMI2]	= EVENT_NMI,
	[INBOX_SMI]	= TRACE_SMI,
	[INBOX_INIT]	= TRACE_INIT,
	[INBOX_SIPI]	= TRACE_SIPI,
	[INBOX_TRIPLE]	= TRACE_SHUTDOWN,
};

void vcpu_post(struct vcpu *v, unsigned int bit)
{
	set_bit(bit, &v->inbox);
	trace_strata_event_queued(v, PLACE_INBOX, inbox_kind[bit], bit == INBOX_SIPI ? v->sipi_vector : 0);
	virt_request(&v->virt, REQ_EVENT);
	virt_kick(&v->virt);
}

void vcpu_post_nmi(struct vcpu *v)
{
	/* At most two: one in its handler's place, one waiting behind it. */
	vcpu_post(v, test_and_set_bit(INBOX_NMI, &v->inbox) ? INBOX_NMI2 : INBOX_NMI);
}

static long vcpu_nmi(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	vcpu_post_nmi(to_vcpu(vv));
	return 0;
}

static long vcpu_smi(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	vcpu_post(to_vcpu(vv), INBOX_SMI);
	return 0;
}

/*
 * A SIPI that is on its way shows as a state of its own, and is settled by the next KVM_RUN only.
 */
static long get_mp_state(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct vcpu *v = to_vcpu(vv);
	struct event_queue q = v->events;
	struct event_view view;

	((struct kvm_mp_state *)data)->mp_state = v->mp_state;
	if (!v->apic)
		return 0;
	/* A kick has ended the wait, though the thread has not seen it yet. */
	if (v->mp_state == KVM_MP_STATE_HALTED && READ_ONCE(v->pv.kicked))
		((struct kvm_mp_state *)data)->mp_state = KVM_MP_STATE_RUNNABLE;
	vcpu_view(v, &view);
	event_drain(&q, READ_ONCE(v->inbox), READ_ONCE(v->sipi_vector));
	if (event_sipi_pending(&q, &view))
		((struct kvm_mp_state *)data)->mp_state = KVM_MP_STATE_SIPI_RECEIVED;
	return 0;
}

static long set_mp_state(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct vcpu *v = to_vcpu(vv);
	u32 state = ((struct kvm_mp_state *)data)->mp_state;
	bool sipi = state == KVM_MP_STATE_SIPI_RECEIVED;

	/* The others are states of an in-kernel local APIC. */
	if (state > KVM_MP_STATE_SIPI_RECEIVED || (state != KVM_MP_STATE_RUNNABLE && !v->apic))
		return -EINVAL;
	/* A state that is restored begins before the instruction that the vCPU was in. */
	io_forget(v);
	clear_bit(INBOX_SIPI, &v->inbox);
	v->events.sipi = sipi;
	v->mp_state = sipi ? KVM_MP_STATE_INIT_RECEIVED : state;
	return 0;
}

static long translate(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	struct kvm_translation *t = data;
	struct walk w = { };
	int ret = mmu_walk_peek(to_vcpu(vv), t->linear_address, 0, &w);

	t->valid = !ret;
	t->physical_address = ret ? ~0ull : w.gpa;
	t->writeable = !ret && w.writable;
	t->usermode = !ret && w.user;
	return 0;
}

static const struct ioctl_row vcpu_rows[] = {
	{ KVM_GET_VCPU_EVENTS,	IOCTL_REGS, .vcpu = get_vcpu_events },
	{ KVM_SET_VCPU_EVENTS,	IOCTL_REGS, .vcpu = set_vcpu_events },
	{ KVM_INTERRUPT,	0, .vcpu = vcpu_interrupt },
	{ KVM_NMI,		IOCTL_RAW, .vcpu = vcpu_nmi },
	{ KVM_SMI,		IOCTL_RAW, .vcpu = vcpu_smi },
	{ KVM_GET_MP_STATE,	IOCTL_REGS, .vcpu = get_mp_state },
	{ KVM_SET_MP_STATE,	0, .vcpu = set_mp_state },
	{ KVM_TRANSLATE,	IOCTL_LOAD | IOCTL_SRCU, .vcpu = translate },
};

/* ---- VM settings ---- */

static long set_nr_mmu_pages(struct virt_vm *vm, void *data, unsigned long raw)
{
	return shadow_set_limit(to_vm(vm), raw);
}

static long set_tss_addr(struct virt_vm *vm, void *data, unsigned long raw)
{
	/* Three pages below 4 GiB; real mode runs on the hardware, so that nothing is put there. */
	if (raw > 0xffffffffUL - 3 * PAGE_SIZE)
		return -EINVAL;
	to_vm(vm)->tss_addr = raw;
	return 0;
}

static long set_identity_map_addr(struct virt_vm *vm, void *data, unsigned long raw)
{
	if (vm->nr_vcpus)
		return -EINVAL;
	to_vm(vm)->identity_map_addr = *(u64 *)data ?: 0xfffbc000ull;
	return 0;
}

/* ---- capabilities ---- */

static long cap_value_xsave2(void)
{
	return fpu_xsave2_size();
}

/* Without XSAVE there is no register. */
static long cap_xcrs(void)
{
	return boot_cpu_has(X86_FEATURE_XSAVE);
}

static long cap_tsc_control(void)
{
	return backend_caps.has_tsc_scaling;
}

static long cap_nested_state(void)
{
	return backend_caps.nested_state_size;
}

static long cap_exit_disables(void)
{
	return backend_caps.allowed_exit_disables;
}

static long cap_recommended_vcpus(void)
{
	return min_t(unsigned int, num_online_cpus(), VIRT_MAX_VCPUS);
}

/**
 * struct cap_row - an answer to KVM_CHECK_EXTENSION
 * @cap: capability
 * @value: the answer
 * @fn: computes it, if it is not constant
 * @enable: KVM_ENABLE_CAP on the VM; vm->lock held
 */
struct cap_row {
	u32 cap;
	u32 value;
	long (*fn)(void);
	long (*enable)(struct vm *vm, const struct kvm_enable_cap *cap);
};

/* Guests need not be patched where the CPU serves TPR. */
static long vapic(void)
{
	return !backend_caps.serves_tpr;
}

static long enable_exit_disables(struct vm *vm, const struct kvm_enable_cap *cap)
{
	if (cap->args[0] & ~(u64)backend_caps.allowed_exit_disables || vm->virt.nr_vcpus)
		return -EINVAL;
	vm->disabled_exits |= cap->args[0];
	return 0;
}

static long enable_payload(struct vm *vm, const struct kvm_enable_cap *cap)
{
	vm->exception_payload = cap->args[0];
	return 0;
}

static long enable_triple_fault(struct vm *vm, const struct kvm_enable_cap *cap)
{
	vm->triple_fault_event = cap->args[0];
	return 0;
}

static long enable_user_space_msr(struct vm *vm, const struct kvm_enable_cap *cap)
{
	if (cap->args[0] & ~(u64)(KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
				  KVM_MSR_EXIT_REASON_FILTER))
		return -EINVAL;
	vm->cpu.user_space_msr = cap->args[0];
	return 0;
}

static long enable_manual_protect(struct vm *vm, const struct kvm_enable_cap *cap)
{
	u64 allowed = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;

	if (cap->args[0] & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE)
		allowed |= KVM_DIRTY_LOG_INITIALLY_SET;
	if (cap->args[0] & ~allowed)
		return -EINVAL;
	vm->virt.manual_protect = cap->args[0];
	return 0;
}

static long enable_strata_events(struct vm *vm, const struct kvm_enable_cap *cap)
{
	if (vm->virt.nr_vcpus)
		return -EINVAL;
	vm->strata_events = true;
	return 0;
}

static long enable_exit_each(struct vm *vm, const struct kvm_enable_cap *cap)
{
	if (vm->virt.nr_vcpus)
		return -EINVAL;
	vm->exit_each = true;
	return 0;
}

static long enable_split_irqchip(struct vm *vm, const struct kvm_enable_cap *cap)
{
	return irqchip_enable_split(vm, cap->args[0]);
}

static long enable_x2apic_api(struct vm *vm, const struct kvm_enable_cap *cap)
{
	return irqchip_enable_x2apic_api(vm, cap->args[0]);
}

static long enable_halt_poll(struct vm *vm, const struct kvm_enable_cap *cap)
{
	return halt_set_max(vm, cap->args[0]);
}

static long enable_exempt_nx(struct vm *vm, const struct kvm_enable_cap *cap)
{
	return nx_vm_exempt(vm, cap->args[0]);
}

/* Once for each VM */
static long enable_max_vcpu_id(struct vm *vm, const struct kvm_enable_cap *cap)
{
	u64 max = cap->args[0];

	if (!max || max > VIRT_MAX_VCPU_IDS || (vm->max_vcpu_ids && vm->max_vcpu_ids != max) ||
	    vm->irq.bsp_id > max)
		return -EINVAL;
	vm->max_vcpu_ids = max;
	return 0;
}

static const struct cap_row caps[] = {
	{ KVM_CAP_IRQCHIP, 1 },
	{ KVM_CAP_HLT, 1 },
	{ KVM_CAP_MMU_SHADOW_CACHE_CONTROL, 1 },
	{ KVM_CAP_USER_MEMORY, 1 },
	{ KVM_CAP_USER_MEMORY2, 1 },
	{ KVM_CAP_SET_TSS_ADDR, 1 },
	{ KVM_CAP_EXT_CPUID, 1 },
	{ KVM_CAP_NR_VCPUS, .fn = cap_recommended_vcpus },
	{ KVM_CAP_NR_MEMSLOTS, VIRT_USER_SLOTS },
	{ KVM_CAP_MP_STATE, 1 },
	{ KVM_CAP_COALESCED_MMIO, VIRT_RUN_PAGES - 1 },
	{ KVM_CAP_COALESCED_PIO, 1 },
	{ KVM_CAP_SYNC_MMU, 1 },
	{ KVM_CAP_USER_NMI, 1 },
	{ KVM_CAP_SET_GUEST_DEBUG, 1 },
	{ KVM_CAP_SET_GUEST_DEBUG2, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP |
					    KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_USE_HW_BP |
					    KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP |
					    KVM_GUESTDBG_BLOCKIRQ },
	{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 1 },
	{ KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, 1 },
	{ KVM_CAP_MCE, 32 },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, 1 },
	{ KVM_CAP_ADJUST_CLOCK, KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC },
	{ KVM_CAP_KVMCLOCK_CTRL, 1 },
	{ KVM_CAP_HALT_POLL, 1, .enable = enable_halt_poll },
	{ KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1 },
	{ KVM_CAP_ASYNC_PF, 1 },
	{ KVM_CAP_ASYNC_PF_INT, 1 },
	{ KVM_CAP_INTERNAL_ERROR_DATA, 1 },
	{ KVM_CAP_VCPU_EVENTS, 1 },
	{ KVM_CAP_INTR_SHADOW, 1 },
	{ KVM_CAP_DEBUGREGS, 1 },
	{ KVM_CAP_X86_ROBUST_SINGLESTEP, 1 },
	{ KVM_CAP_ENABLE_CAP, 1 },
	{ KVM_CAP_ENABLE_CAP_VM, 1 },
	{ KVM_CAP_XSAVE, 1 },
	{ KVM_CAP_XSAVE2, .fn = cap_value_xsave2 },
	{ KVM_CAP_XCRS, .fn = cap_xcrs },
	{ KVM_CAP_GET_TSC_KHZ, 1 },
	{ KVM_CAP_TSC_CONTROL, .fn = cap_tsc_control },
	{ KVM_CAP_VM_TSC_CONTROL, .fn = cap_tsc_control },
	{ KVM_CAP_MAX_VCPUS, VIRT_MAX_VCPUS },
	{ KVM_CAP_MAX_VCPU_ID, VIRT_MAX_VCPU_IDS, .enable = enable_max_vcpu_id },
	{ KVM_CAP_READONLY_MEM, 1 },
	{ KVM_CAP_CHECK_EXTENSION_VM, 1 },
	{ KVM_CAP_IMMEDIATE_EXIT, 1 },
	{ KVM_CAP_SYNC_REGS, KVM_SYNC_X86_VALID_FIELDS },
	{ KVM_CAP_GET_MSR_FEATURES, 1 },
	{ KVM_CAP_MULTI_ADDRESS_SPACE, VIRT_ADDRESS_SPACES },
	{ KVM_CAP_X86_SMM, 1 },
	{ KVM_CAP_NESTED_STATE, .fn = cap_nested_state },
	{ KVM_CAP_EXCEPTION_PAYLOAD, 1, .enable = enable_payload },
	{ KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1, .enable = enable_triple_fault },
	{ KVM_CAP_X86_DISABLE_EXITS, .fn = cap_exit_disables, .enable = enable_exit_disables },
	{ KVM_CAP_X86_USER_SPACE_MSR,
	  KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER,
	  .enable = enable_user_space_msr },
	{ KVM_CAP_X86_MSR_FILTER, 1 },
	{ KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
	  KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET,
	  .enable = enable_manual_protect },
	{ KVM_CAP_SREGS2, 1 },
	{ KVM_CAP_BINARY_STATS_FD, 1 },
	{ KVM_CAP_IRQ_ROUTING, 4096 },
	{ KVM_CAP_IRQ_INJECT_STATUS, 1 },
	{ KVM_CAP_SPLIT_IRQCHIP, 1, .enable = enable_split_irqchip },
	{ KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
	  .enable = enable_x2apic_api },
	{ KVM_CAP_TSC_DEADLINE_TIMER, 1 },
	{ KVM_CAP_SET_BOOT_CPU_ID, 1 },
	{ KVM_CAP_SIGNAL_MSI, 1 },
	{ KVM_CAP_PIT, 1 },
	{ KVM_CAP_PIT2, 1 },
	{ KVM_CAP_PIT_STATE2, 1 },
	{ KVM_CAP_REINJECT_CONTROL, 1 },
	{ KVM_CAP_VAPIC, .fn = vapic },
	{ KVM_CAP_IOEVENTFD, 1 },
	{ KVM_CAP_IOEVENTFD_NO_LENGTH, 1 },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, 1 },
	{ KVM_CAP_IRQFD, 1 },
	{ KVM_CAP_IRQFD_RESAMPLE, 1 },
	{ KVM_CAP_VM_DISABLE_NX_HUGE_PAGES, 1, .enable = enable_exempt_nx },
	{ KVM_CAP_SYS_ATTRIBUTES, 1 },
	{ KVM_CAP_VCPU_ATTRIBUTES, 1 },
	{ STRATA_CAP_EVENTS, 1, .enable = enable_strata_events },
	{ STRATA_CAP_EXIT_EACH, 1, .enable = enable_exit_each },
};

static const struct cap_row *find_cap(u32 cap)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(caps); i++) {
		if (caps[i].cap == cap)
			return &caps[i];
	}
	return NULL;
}

long arch_check_extension(struct virt_vm *vm, unsigned int cap)
{
	const struct cap_row *row = find_cap(cap);

	if (!row)
		return 0;
	return row->fn ? row->fn() : row->value;
}

static long vm_enable_cap(struct virt_vm *vm, void *data, unsigned long raw)
{
	const struct kvm_enable_cap *cap = data;
	const struct cap_row *row = find_cap(cap->cap);

	if (cap->flags || !row || !row->enable)
		return -EINVAL;
	return row->enable(to_vm(vm), cap);
}

static long vcpu_enable_cap(struct virt_vcpu *vv, void *data, unsigned long raw)
{
	const struct kvm_enable_cap *cap = data;

	if (cap->flags || cap->cap != KVM_CAP_ENFORCE_PV_FEATURE_CPUID)
		return -EINVAL;
	to_vcpu(vv)->pv.enforce = cap->args[0];
	return 0;
}

static const struct ioctl_row vcpu_cap_rows[] = {
	{ KVM_ENABLE_CAP,		0, .vcpu = vcpu_enable_cap },
};

static const struct ioctl_row vm_rows[] = {
	{ KVM_ENABLE_CAP,		IOCTL_LOCK, .vm = vm_enable_cap },
	{ KVM_SET_TSS_ADDR,		IOCTL_RAW, .vm = set_tss_addr },
	{ KVM_SET_NR_MMU_PAGES,		IOCTL_RAW, .vm = set_nr_mmu_pages },
	{ KVM_SET_IDENTITY_MAP_ADDR,	IOCTL_LOCK, .vm = set_identity_map_addr },
};

#define ADD(table, rows) ioctl_table_add(&table, rows, ARRAY_SIZE(rows))
#define ADD_ROOM(table, room, kind) ioctl_table_add(&table, room##_##kind, room##_nr_##kind)

int x86_ioctls_init(void)
{
	return ADD(vcpu_ioctls, vcpu_rows) ?: ADD(vcpu_ioctls, vcpu_cap_rows) ?: ADD(vm_ioctls, vm_rows) ?:
	       ADD_ROOM(vm_ioctls, irqchip, vm_ioctls) ?: ADD_ROOM(vm_ioctls, route, vm_ioctls) ?:
	       ADD_ROOM(vm_ioctls, pit, vm_ioctls) ?: ADD_ROOM(vcpu_ioctls, apic, vcpu_ioctls) ?:
	       ADD_ROOM(vcpu_ioctls, vapic, vcpu_ioctls) ?:
	       ADD_ROOM(vcpu_ioctls, nested, vcpu_ioctls) ?:
	       ADD_ROOM(vcpu_ioctls, regs, vcpu_ioctls) ?: ADD_ROOM(vcpu_ioctls, debug, vcpu_ioctls) ?:
	       ADD_ROOM(dev_ioctls, fpu, dev_ioctls) ?: ADD_ROOM(vcpu_ioctls, fpu, vcpu_ioctls) ?:
	       ADD_ROOM(vm_ioctls, clock, vm_ioctls) ?: ADD_ROOM(vcpu_ioctls, clock, vcpu_ioctls) ?:
	       ADD_ROOM(vm_ioctls, tsc, vm_ioctls) ?: ADD_ROOM(vcpu_ioctls, tsc, vcpu_ioctls) ?:
	       ADD_ROOM(dev_ioctls, cpuid, dev_ioctls) ?: ADD_ROOM(vcpu_ioctls, cpuid, vcpu_ioctls) ?:
	       ADD_ROOM(dev_ioctls, msr, dev_ioctls) ?: ADD_ROOM(vm_ioctls, msr, vm_ioctls) ?:
	       ADD_ROOM(vcpu_ioctls, msr, vcpu_ioctls) ?:
	       ADD_ROOM(dev_ioctls, mce, dev_ioctls) ?: ADD_ROOM(vcpu_ioctls, mce, vcpu_ioctls);
}
