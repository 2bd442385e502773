// SPDX-License-Identifier: GPL-2.0
/*
 * Saving, restoring and comparing all state; see state.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "../../../../include/uapi/linux/strata.h"
#include "state.h"
#include "x86.h"

/* Clocks of Hyper-V: reading is all that can be done with them. */
#define MSR_HV_VP_RUNTIME	0x40000010
#define MSR_HV_TIME_REF		0x40000020

const char *const state_part_names[NR_PARTS] = {
	"REGS", "SREGS", "MSRS", "XCRS", "XSAVE", "DEBUGREGS", "VCPU_EVENTS", "MP_STATE", "LAPIC", "slots",
	"NESTED_STATE", "TSC", "IRQCHIP", "PIT", "CLOCK",
};

const u8 state_qemu_order[NR_PARTS] = {
	PART_SLOTS, PART_IRQCHIP, PART_PIT, PART_LAPIC, PART_SREGS, PART_NESTED, PART_TSC, PART_REGS, PART_XSAVE, PART_XCRS, PART_MSRS,
	PART_EVENTS, PART_MP_STATE, PART_DEBUGREGS, PART_CLOCK,
};

/* ---- set-up ---- */

static void enable(struct vm *vm, u32 cap, u64 arg)
{
	struct kvm_enable_cap c = { .cap = cap, .args[0] = arg };

	xioctl(vm->fd, KVM_ENABLE_CAP, &c);
}

static void enable_caps(struct vm *vm, const struct vm_config *c)
{
	struct kvm_pit_config pit = { };

	if (c->payload)
		enable(vm, KVM_CAP_EXCEPTION_PAYLOAD, 1);
	if (c->triple_fault)
		enable(vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1);
	if (c->strata_events)
		enable(vm, STRATA_CAP_EVENTS, 0);
	if (c->each)
		enable(vm, STRATA_CAP_EXIT_EACH, 0);
	if (c->msr_exits)
		enable(vm, KVM_CAP_X86_USER_SPACE_MSR, c->msr_exits);
	if (c->irqchip == CHIP_SPLIT)
		enable(vm, KVM_CAP_SPLIT_IRQCHIP, 24);
	if (c->irqchip != CHIP_FULL)
		return;
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	xioctl(vm->fd, KVM_CREATE_PIT2, &pit);
}

static void offer_deadline(struct kvm_cpuid2 *cpuid, const struct vm_config *c)
{
	if (c->irqchip != CHIP_NONE)
		cpuid_entry(cpuid, 1, 0)->ecx |= 1u << 24;
}

/* Each vCPU says its own APIC ID. */
static void set_apic_id(struct kvm_cpuid2 *cpuid, u32 id)
{
	u32 i;

	for (i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == 1)
			e->ebx = (e->ebx & 0xffffff) | id << 24;
		else if (e->function == 0xb || e->function == 0x1f)
			e->edx = id;
		else if (e->function == 0x8000001e)
			e->eax = id;
	}
}

struct vm *vm_create_with(const struct vm_config *config, struct vm *memory_of)
{
	struct vm *vm = memory_of ? vm_create_bare(0) : vm_create(0);
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);
	unsigned int i;

	if (memory_of) {
		vm->mem = memory_of->mem;
		vm->mem_lent = true;
		vm->next_table = memory_of->next_table;
	}
	offer_deadline(cpuid, config);
	enable_caps(vm, config);
	for (i = 0; i < config->nr_vcpus; i++) {
		vcpu_create(vm, i);
		set_apic_id(cpuid, i);
		xioctl(vm->vcpu[i].fd, KVM_SET_CPUID2, cpuid);
	}
	free(cpuid);
	return vm;
}

/* ---- MSRs ---- */

/* Those that this module lists, and that can be read and written back on a new vCPU. */
static struct {
	u32 nr;
	u32 index[MAX_MSRS];
} msr_list;

static bool moves(u32 msr)
{
	/* The TSC is a part of its own: by value it would lose what time it takes to set it. */
	return msr == MSR_TSC || msr == MSR_HV_VP_RUNTIME || msr == MSR_HV_TIME_REF;
}

static void probe_msrs(struct vcpu *vcpu)
{
	struct {
		struct kvm_msr_list head;
		u32 index[1024];
	} list = { .head.nmsrs = 1024 };
	u32 i;
	u64 value;

	if (msr_list.nr)
		return;
	xioctl(vcpu->vm->kvm, KVM_GET_MSR_INDEX_LIST, &list);
	for (i = 0; i < list.head.nmsrs && msr_list.nr < MAX_MSRS; i++) {
		if (moves(list.index[i]) || vcpu_get_msr(vcpu, list.index[i], &value) != 1)
			continue;
		if (vcpu_set_msr(vcpu, list.index[i], value) == 1)
			msr_list.index[msr_list.nr++] = list.index[i];
	}
}

static void get_msrs(struct vcpu *vcpu, struct vcpu_state *s)
{
	u32 i;

	probe_msrs(vcpu);
	s->msrs.head.nmsrs = msr_list.nr;
	for (i = 0; i < msr_list.nr; i++)
		s->msrs.entry[i].index = msr_list.index[i];
	REQUIRE_EQ(xioctl(vcpu->fd, KVM_GET_MSRS, &s->msrs), msr_list.nr);
}

/* ---- one part of a vCPU ---- */

static struct kvm_device_attr tsc_attr(const u64 *offset)
{
	return (struct kvm_device_attr) {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (u64)offset,
	};
}

static void get_nested(struct vcpu *vcpu, struct vcpu_state *s)
{
	int size = kvm_cap(vcpu->vm->fd, KVM_CAP_NESTED_STATE);

	if (size <= 0)
		return;
	REQUIRE(size <= NESTED_MAX);
	s->nested.size = size;
	xioctl(vcpu->fd, KVM_GET_NESTED_STATE, &s->nested);
}

static void get_part(struct vcpu *vcpu, enum state_part part, const struct vm_config *c,
		     struct vcpu_state *s)
{
	struct kvm_device_attr attr = tsc_attr(&s->tsc_offset);

	switch (part) {
	case PART_REGS:
		xioctl(vcpu->fd, KVM_GET_REGS, &s->regs);
		break;
	case PART_SREGS:
		xioctl(vcpu->fd, KVM_GET_SREGS, &s->sregs);
		xioctl(vcpu->fd, KVM_GET_SREGS2, &s->sregs2);
		break;
	case PART_MSRS:
		get_msrs(vcpu, s);
		break;
	case PART_XCRS:
		xioctl(vcpu->fd, KVM_GET_XCRS, &s->xcrs);
		break;
	case PART_XSAVE:
		xioctl(vcpu->fd, KVM_GET_XSAVE, &s->xsave);
		break;
	case PART_DEBUGREGS:
		xioctl(vcpu->fd, KVM_GET_DEBUGREGS, &s->debugregs);
		break;
	case PART_EVENTS:
		xioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &s->events);
		break;
	case PART_MP_STATE:
		xioctl(vcpu->fd, KVM_GET_MP_STATE, &s->mp_state);
		break;
	case PART_LAPIC:
		if (c->irqchip != CHIP_NONE)
			xioctl(vcpu->fd, KVM_GET_LAPIC, &s->lapic);
		break;
	case PART_NESTED:
		get_nested(vcpu, s);
		break;
	case PART_TSC:
		xioctl(vcpu->fd, KVM_GET_DEVICE_ATTR, &attr);
		break;
	default:
		break;
	}
}

static int set_sregs(struct vcpu *vcpu, bool sregs2, const struct vcpu_state *s)
{
	/* Without an APIC in the kernel CR8 is userspace's to pass. */
	vcpu->run->cr8 = s->sregs.cr8;
	if (sregs2)
		return kvm_ioctl(vcpu->fd, KVM_SET_SREGS2, (void *)&s->sregs2);
	return kvm_ioctl(vcpu->fd, KVM_SET_SREGS, (void *)&s->sregs);
}

static int set_msrs(struct vcpu *vcpu, const struct vcpu_state *s)
{
	int r = kvm_ioctl(vcpu->fd, KVM_SET_MSRS, (void *)&s->msrs);

	if (r >= 0 && (u32)r < s->msrs.head.nmsrs)
		tap_fail(__FILE__, __LINE__, "MSR %#x = %#llx refused", s->msrs.entry[r].index,
			 s->msrs.entry[r].data);
	return r < 0 ? r : 0;
}

static int set_slots(struct vm *vm, const struct vm_state *s)
{
	unsigned int i;
	int r = 0;

	for (i = 0; i < MAX_SLOTS; i++)
		if (vm->slot[i].memory_size &&
		    memcmp(&vm->slot[i], &s->slot[i], sizeof(s->slot[i])))
			r = r ?: vm_set_slot(vm, vm->slot[i].slot, 0, vm->slot[i].guest_phys_addr, 0, NULL);
	for (i = 0; i < MAX_SLOTS; i++)
		if (s->slot[i].memory_size && !vm->slot[i].memory_size)
			r = r	  ?:
				    vm_set_slot(vm, s->slot[i].slot, s->slot[i].flags,
						s->slot[i].guest_phys_addr, s->slot[i].memory_size,
						(void *)s->slot[i].userspace_addr);
	return r;
}

static int set_vm_part(struct vm *vm, enum state_part part, const struct vm_state *s)
{
	struct kvm_clock_data clock = { .clock = s->clock.clock };
	unsigned int i;
	int r = 0;

	switch (part) {
	case PART_SLOTS:
		return set_slots(vm, s);
	case PART_IRQCHIP:
		for (i = 0; !r && i < 3; i++)
			r = kvm_ioctl(vm->fd, KVM_SET_IRQCHIP, (void *)&s->irqchip[i]);
		return r;
	case PART_PIT:
		return kvm_ioctl(vm->fd, KVM_SET_PIT2, (void *)&s->pit);
	default:
		return kvm_ioctl(vm->fd, KVM_SET_CLOCK, &clock);
	}
}

int state_set_part(struct vm *vm, unsigned int id, enum state_part part, bool sregs2,
		   const struct vm_state *state)
{
	const struct vcpu_state *s = &state->vcpu[id];
	struct kvm_device_attr attr = tsc_attr(&s->tsc_offset);
	struct vcpu *vcpu = &vm->vcpu[id];

	switch (part) {
	case PART_REGS:
		return kvm_ioctl(vcpu->fd, KVM_SET_REGS, (void *)&s->regs);
	case PART_SREGS:
		return set_sregs(vcpu, sregs2, s);
	case PART_MSRS:
		return set_msrs(vcpu, s);
	case PART_XCRS:
		return kvm_ioctl(vcpu->fd, KVM_SET_XCRS, (void *)&s->xcrs);
	case PART_XSAVE:
		return kvm_ioctl(vcpu->fd, KVM_SET_XSAVE, (void *)&s->xsave);
	case PART_DEBUGREGS:
		return kvm_ioctl(vcpu->fd, KVM_SET_DEBUGREGS, (void *)&s->debugregs);
	case PART_EVENTS:
		return kvm_ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, (void *)&s->events);
	case PART_MP_STATE:
		return kvm_ioctl(vcpu->fd, KVM_SET_MP_STATE, (void *)&s->mp_state);
	case PART_LAPIC:
		return kvm_ioctl(vcpu->fd, KVM_SET_LAPIC, (void *)&s->lapic);
	case PART_NESTED:
		return s->nested.size ? kvm_ioctl(vcpu->fd, KVM_SET_NESTED_STATE, (void *)&s->nested) : 0;
	case PART_TSC:
		return kvm_ioctl(vcpu->fd, KVM_SET_DEVICE_ATTR, &attr);
	default:
		return set_vm_part(vm, part, state);
	}
}

/* ---- all of it ---- */

static bool of_vm(u8 part)
{
	return part == PART_SLOTS || part == PART_IRQCHIP || part == PART_PIT || part == PART_CLOCK;
}

static bool exists(u8 part, const struct vm_config *c)
{
	if (part == PART_LAPIC)
		return c->irqchip != CHIP_NONE;
	return (part != PART_IRQCHIP && part != PART_PIT) || c->irqchip == CHIP_FULL;
}

static void get_vm_part(struct vm *vm, enum state_part part, struct vm_state *s)
{
	unsigned int i;

	switch (part) {
	case PART_SLOTS:
		memcpy(s->slot, vm->slot, sizeof(s->slot));
		break;
	case PART_IRQCHIP:
		for (i = 0; i < 3; i++) {
			s->irqchip[i].chip_id = i;
			xioctl(vm->fd, KVM_GET_IRQCHIP, &s->irqchip[i]);
		}
		break;
	case PART_PIT:
		xioctl(vm->fd, KVM_GET_PIT2, &s->pit);
		break;
	default:
		xioctl(vm->fd, KVM_GET_CLOCK, &s->clock);
		break;
	}
}

void state_save(struct vm *vm, const struct vm_config *config, const u8 *order, struct vm_state *s)
{
	unsigned int i, id;

	for (i = 0; i < NR_PARTS; i++) {
		u8 part = order ? order[i] : i;

		if (!exists(part, config))
			continue;
		if (of_vm(part))
			get_vm_part(vm, part, s);
		for (id = 0; !of_vm(part) && id < config->nr_vcpus; id++)
			get_part(&vm->vcpu[id], part, config, &s->vcpu[id]);
	}
}

void state_restore(struct vm *vm, const struct vm_config *config, const u8 *order, bool sregs2,
		   const struct vm_state *s)
{
	unsigned int i, id;
	int r;

	for (i = 0; i < NR_PARTS; i++) {
		if (!exists(order[i], config))
			continue;
		for (id = 0; id < (of_vm(order[i]) ? 1 : config->nr_vcpus); id++) {
			r = state_set_part(vm, id, order[i], sregs2, s);
			if (r)
				tap_fail(__FILE__, __LINE__, "vCPU %u: setting %s: %s", id,
					 state_part_names[order[i]], strerror(-r));
		}
	}
}

/* ---- comparing ---- */

static unsigned int differs(const char *what, unsigned int id, const char *part, const void *a,
			    const void *b, size_t size)
{
	const u8 *x = a, *y = b;
	size_t i;

	if (!memcmp(a, b, size))
		return 0;
	for (i = 0; x[i] == y[i]; i++)
		;
	i &= ~7ul;
	tap_fail(__FILE__, __LINE__, "%s: vCPU %u: %s differs at byte %zu: %#llx, %#llx", what, id,
		 part, i, (unsigned long long)*(u64 *)(x + i), (unsigned long long)*(u64 *)(y + i));
	return 1;
}

static unsigned int msrs_differ(const char *what, unsigned int id, const struct vcpu_state *a,
				const struct vcpu_state *b)
{
	unsigned int i, n = 0;

	for (i = 0; i < a->msrs.head.nmsrs; i++) {
		if (a->msrs.entry[i].data == b->msrs.entry[i].data)
			continue;
		tap_fail(__FILE__, __LINE__, "%s: vCPU %u: MSR %#x differs: %#llx, %#llx", what, id,
			 a->msrs.entry[i].index, a->msrs.entry[i].data, b->msrs.entry[i].data);
		n++;
	}
	return n;
}

/* A counting timer moves: its count and the phase within it, and when it expires its request. */
static void still_lapic(struct kvm_lapic_state *s)
{
	u32 *reg = (u32 *)s->regs;
	u32 vector = reg[0x320 / 4] & 0xff;

	if (!reg[0x380 / 4])
		return;
	reg[0x390 / 4] = 0;
	reg[0x394 / 4] = 0;
	reg[(0x200 + vector / 32 * 0x10) / 4] &= ~(1u << vector % 32);
}

static unsigned int lapic_differs(const char *what, unsigned int id, const struct vcpu_state *a,
				  const struct vcpu_state *b)
{
	struct kvm_lapic_state x = a->lapic, y = b->lapic;

	still_lapic(&x);
	still_lapic(&y);
	return differs(what, id, "LAPIC", &x, &y, sizeof(x));
}

static unsigned int chips_differ(const char *what, const struct vm_state *a,
				 const struct vm_state *b)
{
	return differs(what, 0, "PIC 1", &a->irqchip[0], &b->irqchip[0], sizeof(a->irqchip[0])) +
	       differs(what, 0, "PIC 2", &a->irqchip[1], &b->irqchip[1], sizeof(a->irqchip[1])) +
	       differs(what, 0, "IOAPIC", &a->irqchip[2], &b->irqchip[2], sizeof(a->irqchip[2]));
}

#define DIFFERS(part) differs(what, id, #part, &x->part, &y->part, sizeof(x->part))

unsigned int state_differs(const char *what, const struct vm_config *config,
			   const struct vm_state *a, const struct vm_state *b)
{
	unsigned int id, n = differs(what, 0, "slots", a->slot, b->slot, sizeof(a->slot));

	if (config->irqchip == CHIP_FULL)
		n += chips_differ(what, a, b);
	for (id = 0; id < config->nr_vcpus; id++) {
		const struct vcpu_state *x = &a->vcpu[id], *y = &b->vcpu[id];

		n += DIFFERS(regs) + DIFFERS(sregs) + DIFFERS(sregs2) + DIFFERS(xcrs) +
		     DIFFERS(xsave) + DIFFERS(debugregs) + DIFFERS(events) + DIFFERS(mp_state) +
		     DIFFERS(tsc_offset);
		n += msrs_differ(what, id, x, y);
		if (x->nested.size)
			n += differs(what, id, "NESTED_STATE", &x->nested, &y->nested,
				     x->nested.size);
		if (config->irqchip != CHIP_NONE)
			n += lapic_differs(what, id, x, y);
	}
	return n;
}

/* ---- orders ---- */

u64 next_random(u64 *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * 0x2545f4914f6cdd1dull;
}

void state_shuffle(u64 *seed, u8 *order)
{
	unsigned int i, j;

	for (i = 0; i < NR_PARTS; i++) {
		j = (next_random(seed) >> 32) % (i + 1);
		order[i] = order[j];
		order[j] = i;
	}
}

u64 env_number(const char *name, u64 otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : otherwise;
}

/* ---- guest memory ---- */

#define LOW_START	0x1000ull
#define LOW_END		0x20000ull
#define STACKS_SIZE	(MAX_VCPUS * STACK_SIZE)
#define HEAP_SIZE	0x10000ull

extern char __data_start[], _end[];

/* The ranges, one after another; @fn gets the guest's side and what is left of the image. */
static u64 each_range(struct vm *vm, u8 *image, void (*fn)(u8 *mem, u8 *image, u64 size, u64 *arg),
		      u64 *arg)
{
	u64 data = (u64)__data_start & ~7ull;
	const u64 range[][2] = {
		{ LOW_START, LOW_END - LOW_START },
		{ GPA_STACKS, STACKS_SIZE },
		{ data, ((u64)_end - data + 7) & ~7ull },
		{ GPA_HEAP, HEAP_SIZE },
	};
	unsigned int i;
	u64 done = 0;

	for (i = 0; i < sizeof(range) / sizeof(range[0]); i++) {
		if (fn)
			fn(vm->mem + range[i][0], image + done, range[i][1], arg);
		done += range[i][1];
	}
	return done;
}

static void copy_out(u8 *mem, u8 *image, u64 size, u64 *arg __attribute__((unused)))
{
	memcpy(image, mem, size);
}

/* Only what differs: a page that the guest did not write stays as it is. */
static void copy_in(u8 *mem, u8 *image, u64 size, u64 *arg __attribute__((unused)))
{
	u64 i, n;

	for (i = 0; i < size; i += n) {
		n = size - i < 4096 ? size - i : 4096;
		if (memcmp(mem + i, image + i, n))
			memcpy(mem + i, image + i, n);
	}
}

static void digest(u8 *mem, u8 *image __attribute__((unused)), u64 size, u64 *hash)
{
	u64 i, h = *hash;

	for (i = 0; i < size; i += 8)
		h = (h ^ *(u64 *)(mem + i)) * 0x100000001b3ull + (h >> 29);
	*hash = h;
}

void ram_save(struct vm *vm, struct ram_image *ram)
{
	if (!ram->bytes)
		ram->bytes = malloc(each_range(vm, NULL, NULL, NULL));
	each_range(vm, ram->bytes, copy_out, NULL);
}

void ram_restore(struct vm *vm, const struct ram_image *ram)
{
	each_range(vm, ram->bytes, copy_in, NULL);
}

/*
 * What the guest's side has otherwise than the image. @arg: how many words yet, and where the
 * guest's memory begins
 */
static void show(u8 *mem, u8 *image, u64 size, u64 *arg)
{
	u64 i;

	for (i = 0; i < size && arg[0]; i += 8) {
		if (*(u64 *)(mem + i) == *(u64 *)(image + i))
			continue;
		arg[0]--;
		tap_note("memory at %#llx: %#llx instead of %#llx",
			 (unsigned long long)((u64)mem + i - arg[1]),
			 (unsigned long long)*(u64 *)(mem + i),
			 (unsigned long long)*(u64 *)(image + i));
	}
}

void ram_show(struct vm *vm, const struct ram_image *ram)
{
	u64 arg[2] = { 8, (u64)vm->mem };

	each_range(vm, ram->bytes, show, arg);
}

u64 ram_digest(struct vm *vm)
{
	u64 hash = 0xcbf29ce484222325ull;

	each_range(vm, NULL, digest, &hash);
	return hash;
}
