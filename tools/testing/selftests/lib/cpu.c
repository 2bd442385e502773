// SPDX-License-Identifier: GPL-2.0
/*
 * Mode set-up and the run loop; see cpu.h.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "../../../../include/uapi/linux/strata.h"
#include "cpu.h"

#define TABLES_END	GPA_STACKS
#define IDENTITY_GIB	4

static u64 alloc_table(struct vm *vm)
{
	u64 gpa = vm->next_table;

	REQUIRE(gpa < TABLES_END);
	vm->next_table += 4096;
	memset(gpa_to_host(vm, gpa), 0, 4096);
	return gpa;
}

/* Makes the entry point to a table; a large page becomes 512 smaller ones first. */
static u64 *table_below(struct vm *vm, u64 *entry, int level)
{
	u64 old = *entry, *table, step = 1ull << (12 + 9 * (level - 2));
	unsigned int i;

	if ((old & PTE_P) && !(old & PTE_PS))
		return gpa_to_host(vm, old & PTE_ADDR);
	*entry = alloc_table(vm) | PTE_P | PTE_W | PTE_U;
	table = gpa_to_host(vm, *entry & PTE_ADDR);
	for (i = 0; (old & PTE_P) && i < 512; i++)
		table[i] = (old + i * step) & (level == 2 ? ~PTE_PS : ~0ull);
	return table;
}

u64 *vm_pte(struct vm *vm, u64 gva, int level)
{
	u64 *table = gpa_to_host(vm, GPA_TABLES);
	int l;

	for (l = 4; l > level; l--)
		table = table_below(vm, &table[(gva >> (12 + 9 * (l - 1))) & 511], l);
	return &table[(gva >> (12 + 9 * (level - 1))) & 511];
}

void vm_map_page(struct vm *vm, u64 gva, u64 gpa, u64 flags)
{
	*vm_pte(vm, gva, 1) = gpa | flags;
}

void vm_user_page(struct vm *vm, u64 gpa, u64 rights)
{
	int level;

	vm_map_page(vm, gpa, gpa, PTE_P | PTE_U | rights);
	for (level = 2; level <= 4; level++)
		*vm_pte(vm, gpa, level) |= PTE_U;
}

void vm_user_segments(struct vm *vm)
{
	u64 *gdt = gpa_to_host(vm, GPA_GDT);

	gdt[SEL_USER_CODE / 8] = 0x00affb000000ffffull;
	gdt[SEL_USER_DATA / 8] = 0x00cff3000000ffffull;
}

static void build_tables(struct vm *vm)
{
	u64 gva;

	if (vm->next_table != GPA_TABLES)
		return;
	alloc_table(vm);
	for (gva = 0; gva < (u64)IDENTITY_GIB << 30; gva += 2 << 20)
		*vm_pte(vm, gva, 2) = gva | PTE_P | PTE_W | PTE_PS;
}

static void build_descriptors(struct vm *vm)
{
	u64 *gdt = gpa_to_host(vm, GPA_GDT), *idt = gpa_to_host(vm, GPA_IDT), stub;
	unsigned int i;

	gdt[SEL_CODE64 / 8] = 0x00af9b000000ffffull;
	gdt[SEL_DATA / 8] = 0x00cf93000000ffffull;
	gdt[SEL_CODE32 / 8] = 0x00cf9b000000ffffull;
	/* Busy 64-bit TSS at GPA_TSS. */
	gdt[SEL_TSS / 8] = 0x00008b0000000067ull | GPA_TSS << 16;
	gdt[SEL_TSS / 8 + 1] = 0;
	for (i = 0; i < 256; i++) {
		stub = (u64)guest_vectors + 16 * i;
		idt[2 * i] = (stub & 0xffff) | SEL_CODE64 << 16 | 0x8e00ull << 32 |
			     (stub & 0xffff0000) << 32;
		idt[2 * i + 1] = stub >> 32;
	}
}

static struct kvm_segment segment(u16 selector, u8 type, bool code64)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.db = !code64,
		.s = 1,
		.l = code64,
		.g = 1,
	};
}

static void set_data_segments(struct kvm_sregs *sregs, struct kvm_segment data)
{
	sregs->ds = data;
	sregs->es = data;
	sregs->fs = data;
	sregs->gs = data;
	sregs->ss = data;
}

void vcpu_set_long(struct vcpu *vcpu, void *fn, u64 arg)
{
	struct vm *vm = vcpu->vm;
	struct guest_cpu *cpu = vcpu_report(vcpu);
	struct kvm_regs regs = {
		.rip = (u64)fn,
		.rdi = arg,
		.rflags = RFLAGS_FIXED,
		.rsp = GPA_STACKS + STACK_SIZE * (vcpu->id + 1) - 8,
	};
	struct kvm_sregs sregs;

	build_tables(vm);
	build_descriptors(vm);
	memset(cpu, 0, sizeof(*cpu));
	cpu->self = GPA_CPU + vcpu->id * sizeof(*cpu);
	cpu->id = vcpu->id;
	cpu->vector = -1;

	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.cs = segment(SEL_CODE64, 11, true);
	set_data_segments(&sregs, segment(SEL_DATA, 3, false));
	sregs.gs.base = cpu->self;
	sregs.tr = (struct kvm_segment){
		.base = GPA_TSS, .limit = 0x67, .selector = SEL_TSS, .type = 11, .present = 1,
	};
	sregs.gdt = (struct kvm_dtable){ .base = GPA_GDT, .limit = GDT_ENTRIES * 8 - 1 };
	sregs.idt = (struct kvm_dtable){ .base = GPA_IDT, .limit = 0xfff };
	sregs.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	sregs.cr3 = GPA_TABLES;
	sregs.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	sregs.efer = EFER_LME | EFER_LMA | EFER_NX | EFER_SCE;
	xioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
	xioctl(vcpu->fd, KVM_SET_REGS, &regs);
}

void vcpu_set_prot(struct vcpu *vcpu, u32 eip)
{
	struct kvm_regs regs = { .rip = eip, .rflags = RFLAGS_FIXED, .rsp = 0x7000 };
	struct kvm_sregs sregs;

	build_descriptors(vcpu->vm);
	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.cs = segment(SEL_CODE32, 11, false);
	set_data_segments(&sregs, segment(SEL_DATA, 3, false));
	sregs.gdt = (struct kvm_dtable){ .base = GPA_GDT, .limit = GDT_ENTRIES * 8 - 1 };
	sregs.idt = (struct kvm_dtable){ .base = GPA_IDT, .limit = 0 };
	sregs.cr0 = CR0_PE | CR0_ET | CR0_NE;
	sregs.cr3 = 0;
	sregs.cr4 = 0;
	sregs.efer = 0;
	xioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
	xioctl(vcpu->fd, KVM_SET_REGS, &regs);
}

void vcpu_set_real(struct vcpu *vcpu, u16 cs, u16 ip)
{
	struct kvm_regs regs = { .rip = ip, .rflags = RFLAGS_FIXED, .rsp = 0x7000 };
	struct kvm_segment data = {
		.limit = 0xffff, .type = 3, .present = 1, .s = 1,
	};
	struct kvm_sregs sregs;

	xioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	set_data_segments(&sregs, data);
	sregs.cs = data;
	sregs.cs.type = 11;
	sregs.cs.selector = cs;
	sregs.cs.base = cs << 4;
	sregs.idt = (struct kvm_dtable){ .base = 0, .limit = 0x3ff };
	sregs.cr0 = CR0_ET;
	sregs.cr3 = 0;
	sregs.cr4 = 0;
	sregs.efer = 0;
	xioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
	xioctl(vcpu->fd, KVM_SET_REGS, &regs);
}

void vcpu_set_if(struct vcpu *vcpu, bool on)
{
	struct kvm_regs regs;

	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	regs.rflags = on ? regs.rflags | RFLAGS_IF : regs.rflags & ~(u64)RFLAGS_IF;
	xioctl(vcpu->fd, KVM_SET_REGS, &regs);
}

u32 vcpu_mp_state(struct vcpu *vcpu)
{
	struct kvm_mp_state mp = { .mp_state = ~0u };

	xioctl(vcpu->fd, KVM_GET_MP_STATE, &mp);
	return mp.mp_state;
}

void vcpu_set_mp_state(struct vcpu *vcpu, u32 state)
{
	struct kvm_mp_state mp = { .mp_state = state };

	xioctl(vcpu->fd, KVM_SET_MP_STATE, &mp);
}

u64 vm_load_payload(struct vm *vm, u64 offset, const void *start, const void *end)
{
	u64 gpa = GPA_PAYLOAD + offset;

	REQUIRE(gpa + (end - start) <= GPA_TABLES);
	memcpy(gpa_to_host(vm, gpa), start, end - start);
	return gpa;
}

void vm_drop_page(struct vm *vm, u64 gpa)
{
	u8 copy[4096], *page = gpa_to_host(vm, gpa);

	memcpy(copy, page, sizeof(copy));
	REQUIRE(!madvise(page, sizeof(copy), MADV_DONTNEED));
	memcpy(page, copy, sizeof(copy));
}

void vm_drop_pages(struct vm *vm, u32 mask)
{
	if (mask & DROP_IDT)
		vm_drop_page(vm, GPA_IDT);
	if (mask & DROP_GDT)
		vm_drop_page(vm, GPA_GDT);
	if (mask & DROP_TSS)
		vm_drop_page(vm, GPA_TSS);
	if (mask & DROP_STACK)
		vm_drop_page(vm, GPA_STACKS + STACK_SIZE - 4096);
	if (mask & DROP_FAULT_STACK)
		vm_drop_page(vm, FAULT_STACK - 4096);
}

struct guest_cpu *vcpu_report(struct vcpu *vcpu)
{
	return (struct guest_cpu *)gpa_to_host(vcpu->vm, GPA_CPU) + vcpu->id;
}

u64 vcpu_sync_value(struct vcpu *vcpu)
{
	return vcpu_report(vcpu)->value;
}

static void on_alarm(int sig)
{
	(void)sig;
}

void vcpu_run_briefly(struct vcpu *vcpu)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval timer = { .it_value.tv_usec = 100000 };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	CHECK_EQ(vcpu_run_raw(vcpu), -EINTR);
}

static void report_assert(struct vcpu *vcpu, u32 line)
{
	struct guest_cpu *cpu = vcpu_report(vcpu);

	tap_fail((const char *)cpu->file, line, "guest, vCPU %u: %s: got %#llx, expected %#llx",
		 vcpu->id, (const char *)cpu->expr, (unsigned long long)cpu->got,
		 (unsigned long long)cpu->want);
}

static void report_exception(struct vcpu *vcpu)
{
	struct guest_cpu *cpu = vcpu_report(vcpu);

	tap_fail(__FILE__, __LINE__,
		 "guest, vCPU %u: exception %llu error %#llx at rip %#llx, cr2 %#llx", vcpu->id,
		 (unsigned long long)cpu->vector, (unsigned long long)cpu->error,
		 (unsigned long long)cpu->rip, (unsigned long long)cpu->cr2);
}

static enum run_end judge_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	u32 *data = RUN_IO_DATA(vcpu);

	if (run->io.direction != KVM_EXIT_IO_OUT || run->io.size != 4)
		return RUN_OTHER;
	switch (run->io.port) {
	case PORT_SYNC:
		return RUN_SYNC;
	case PORT_DONE:
		return RUN_DONE;
	case PORT_ASSERT:
		report_assert(vcpu, *data);
		return RUN_FAILED;
	case PORT_EXCEPTION:
		report_exception(vcpu);
		return RUN_FAILED;
	default:
		return RUN_OTHER;
	}
}

enum run_end vcpu_judge(struct vcpu *vcpu)
{
	return vcpu->run->exit_reason == KVM_EXIT_IO ? judge_io(vcpu) : RUN_OTHER;
}

enum run_end vcpu_run(struct vcpu *vcpu)
{
	int r;

	do {
		r = vcpu_run_raw(vcpu);
	} while (r == -EINTR || r == -EAGAIN);
	REQUIRE_EQ(r, 0);
	return vcpu_judge(vcpu);
}

enum run_end vcpu_run_each(struct vcpu *vcpu)
{
	enum run_end end;

	do {
		end = vcpu_run(vcpu);
	} while (vcpu->run->exit_reason == STRATA_EXIT_EACH);
	return end;
}

static void die_unexpected(const char *file, int line, struct vcpu *vcpu, enum run_end end)
{
	struct kvm_run *run = vcpu->run;
	struct kvm_regs regs;

	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	tap_die(file, line,
		"vCPU %u: unexpected end of run %d: exit %u suberror/port/addr %#llx value %#llx rip %#llx rflags %#llx",
		vcpu->id, end, run->exit_reason,
		run->exit_reason == KVM_EXIT_IO ? run->io.port :
		run->exit_reason == KVM_EXIT_MMIO ? run->mmio.phys_addr : run->internal.suberror,
		(unsigned long long)vcpu_sync_value(vcpu), regs.rip, regs.rflags);
}

void run_expect(const char *file, int line, struct vcpu *vcpu, u32 exit_reason)
{
	enum run_end end = vcpu_run(vcpu);

	if (end != RUN_OTHER || vcpu->run->exit_reason != exit_reason)
		die_unexpected(file, line, vcpu, end);
}

void run_expect_sync(const char *file, int line, struct vcpu *vcpu, u64 value)
{
	enum run_end end = vcpu_run(vcpu);

	if (end != RUN_SYNC || vcpu_sync_value(vcpu) != value)
		die_unexpected(file, line, vcpu, end);
}

void run_expect_done(const char *file, int line, struct vcpu *vcpu)
{
	enum run_end end = vcpu_run(vcpu);

	if (end != RUN_DONE)
		die_unexpected(file, line, vcpu, end);
}
