// SPDX-License-Identifier: GPL-2.0
/*
 * What: page-directory pointers of PAE paging that memory does not have any more, in a vCPU that is
 * moved by SREGS2, and by SREGS.
 * Conditions: strata. SVM with nested paging has no such registers: its walks read memory.
 * Expected: SREGS2 brings them, and the guest goes on with them; with SREGS they are loaded from
 * memory at the next KVM_RUN.
 */
#include "emulator.h"
#include "state.h"
#include "cpu.h"
#include "x86.h"

#define PORT_STOP	0x70
#define PORT_END	0x71
#define ROOT		0xa000
#define DIR_LOW		0xb000
#define DIR_OLD		0xc000
#define DIR_NEW		0xe000
#define OLD		0x11111111u
#define NEW		0x22222222u

/* OUT, then what 1G + 0xd000 maps to */
asm(".pushsection .rodata\n"
    "pdptrs_start: .code32\n"
    "	out %eax, $0x70\n"
    "	mov 0x4000d000, %eax\n"
    "	out %eax, $0x71\n"
    "pdptrs_end: .code64\n"
    ".popsection");
extern const char pdptrs_start[], pdptrs_end[];

static const struct vm_config config = { .nr_vcpus = 1 };
static struct vm_state state, again;

/* Stopped in PAE paging; then the root in memory points elsewhere. */
static struct vm *stopped(void)
{
	struct vm *vm;
	struct kvm_sregs sregs;
	u64 *root;

	STRATA_ONLY("the image of a vCPU in PAE paging");
	vm = vm_create_with(&config, NULL);
	root = gpa_to_host(vm, ROOT);
	vm_load_payload(vm, 0, pdptrs_start, pdptrs_end);
	root[0] = DIR_LOW | PTE_P;
	root[1] = DIR_OLD | PTE_P;
	*(u64 *)gpa_to_host(vm, DIR_LOW) = PTE_P | PTE_W | PTE_PS;
	*(u64 *)gpa_to_host(vm, DIR_OLD) = PTE_P | PTE_W | PTE_PS;
	*(u64 *)gpa_to_host(vm, DIR_NEW) = 0x200000 | PTE_P | PTE_W | PTE_PS;
	*(u32 *)gpa_to_host(vm, 0xd000) = OLD;
	*(u32 *)gpa_to_host(vm, 0x20d000) = NEW;
	vcpu_set_prot(vm->vcpu, GPA_PAYLOAD);
	xioctl(vm->vcpu->fd, KVM_GET_SREGS, &sregs);
	sregs.cr3 = ROOT;
	sregs.cr4 = CR4_PAE;
	sregs.cr0 |= CR0_PG;
	xioctl(vm->vcpu->fd, KVM_SET_SREGS, &sregs);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(vm->vcpu->run->io.port, PORT_STOP);
	vcpu_run_nothing(vm->vcpu);
	root[1] = DIR_NEW | PTE_P;
	return vm;
}

static u32 read_on(struct vm *vm)
{
	struct kvm_regs regs;

	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	CHECK_EQ(vm->vcpu->run->io.port, PORT_END);
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &regs);
	return (u32)regs.rax;
}

static void moved(bool sregs2, u32 want)
{
	struct vm *vm = stopped(), *to = vm_create_with(&config, vm);

	state_save(vm, &config, NULL, &state);
	CHECK_EQ(state.vcpu->sregs2.flags, KVM_SREGS2_FLAGS_PDPTRS_VALID);
	state_restore(to, &config, state_qemu_order, sregs2, &state);
	state_save(to, &config, NULL, &again);
	CHECK_EQ(again.vcpu->sregs2.flags, sregs2 ? KVM_SREGS2_FLAGS_PDPTRS_VALID : 0);
	CHECK_EQ(read_on(to), want);
	vm_destroy(to);
	vm_destroy(vm);
}

TEST(sregs2)
{
	moved(true, host_is_amd() ? NEW : OLD);
	if (!host_is_amd())
		CHECK_EQ(again.vcpu->sregs2.pdptrs[1], DIR_OLD | PTE_P);
}

TEST(sregs)
{
	moved(false, NEW);
}

TEST(not_moved)
{
	struct vm *vm = stopped();

	CHECK_EQ(read_on(vm), host_is_amd() ? NEW : OLD);
	vm_destroy(vm);
}
