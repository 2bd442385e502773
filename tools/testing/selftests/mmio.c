// SPDX-License-Identifier: GPL-2.0
/*
 * What: loads, stores and read-modify-write on addresses without a slot, 1 to 8 bytes, crossing a
 * page, crossing from memory into MMIO; sign and zero extension; string moves; CMPXCHG, XCHG; an
 * exception whose frame would be there.
 * Conditions: long mode, no in-kernel device; the first page without a slot is SLOT0_SIZE.
 * Expected: KVM_EXIT_MMIO with address, length, direction and data; each access exactly once.
 */
#include <string.h>

#include "cpu.h"

#define MMIO 0x20000000ull
#define M(size) (*(volatile u##size *)MMIO)

static void expect_write(struct vcpu *vcpu, u64 gpa, u32 len, u64 value)
{
	u64 data = 0;

	RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.is_write, 1);
	CHECK_EQ(vcpu->run->mmio.phys_addr, gpa);
	REQUIRE_EQ(vcpu->run->mmio.len, len);
	memcpy(&data, vcpu->run->mmio.data, len);
	CHECK_EQ(data, value);
}

static void serve_read(struct vcpu *vcpu, u64 gpa, u32 len, u64 value)
{
	RUN_UNTIL(vcpu, KVM_EXIT_MMIO);
	CHECK_EQ(vcpu->run->mmio.is_write, 0);
	CHECK_EQ(vcpu->run->mmio.phys_addr, gpa);
	REQUIRE_EQ(vcpu->run->mmio.len, len);
	memcpy(vcpu->run->mmio.data, &value, len);
}

static void guest_sizes(void)
{
	u64 v;

	M(8) = 0x11;
	M(16) = 0x2211;
	M(32) = 0x44332211;
	M(64) = 0x8877665544332211ull;
	GUEST_ASSERT_EQ(M(8), 0x81);
	GUEST_ASSERT_EQ(M(16), 0x8281);
	GUEST_ASSERT_EQ(M(32), 0x84838281);
	GUEST_ASSERT_EQ(M(64), 0x8887868584838281ull);
	asm volatile("movabs $0x20000000, %%rax; movsbq (%%rax), %0" : "=r"(v) : : "rax");
	GUEST_ASSERT_EQ(v, 0xffffffffffffff81ull);
	asm volatile("movabs $0x20000000, %%rax; movzwl (%%rax), %k0" : "=r"(v) : : "rax");
	GUEST_ASSERT_EQ(v, 0x8281);
	asm volatile("movabs $0x20000000, %%rax; movslq (%%rax), %0" : "=r"(v) : : "rax");
	GUEST_ASSERT_EQ(v, 0xffffffff84838281ull);
	asm volatile("movabs 0x20000000, %%eax" : "=a"(v));
	GUEST_ASSERT_EQ(v, 0x84838281);
	guest_done();
}

TEST(sizes)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	u64 in = 0x8887868584838281ull;

	vcpu_set_long(vcpu, guest_sizes, 0);
	expect_write(vcpu, MMIO, 1, 0x11);
	expect_write(vcpu, MMIO, 2, 0x2211);
	expect_write(vcpu, MMIO, 4, 0x44332211);
	expect_write(vcpu, MMIO, 8, 0x8877665544332211ull);
	serve_read(vcpu, MMIO, 1, in);
	serve_read(vcpu, MMIO, 2, in);
	serve_read(vcpu, MMIO, 4, in);
	serve_read(vcpu, MMIO, 8, in);
	serve_read(vcpu, MMIO, 1, in);
	serve_read(vcpu, MMIO, 2, in);
	serve_read(vcpu, MMIO, 4, in);
	serve_read(vcpu, MMIO, 4, in);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

#define MEM_RW(insn, reg, flags)						\
	asm volatile(insn "\n\tpushfq\n\tpopq %1"				\
		     : "+a"(reg), "=r"(flags) : "b"(MMIO) : "memory", "cc")

static void guest_rmw(void)
{
	u64 v = 0x0f, flags;

	MEM_RW("addl %%eax, (%%rbx)", v, flags);	/* 0xfffffff1 + 0xf = 0, carry */
	GUEST_ASSERT_EQ(flags & (RFLAGS_CF | RFLAGS_ZF), RFLAGS_CF | RFLAGS_ZF);
	MEM_RW("lock orb $0x80, (%%rbx)", v, flags);
	MEM_RW("xchgw %%ax, (%%rbx)", v, flags);
	GUEST_ASSERT_EQ(v, 0x7777);
	MEM_RW("incq (%%rbx)", v, flags);
	MEM_RW("testb $1, (%%rbx)", v, flags);
	GUEST_ASSERT_EQ(flags & RFLAGS_ZF, RFLAGS_ZF);
	v = 5;
	MEM_RW("cmpl %%eax, (%%rbx)", v, flags);
	GUEST_ASSERT_EQ(flags & RFLAGS_ZF, RFLAGS_ZF);
	guest_done();
}

TEST(read_modify_write)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;

	vcpu_set_long(vcpu, guest_rmw, 0);
	serve_read(vcpu, MMIO, 4, 0xfffffff1);
	expect_write(vcpu, MMIO, 4, 0);
	serve_read(vcpu, MMIO, 1, 0x01);
	expect_write(vcpu, MMIO, 1, 0x81);
	serve_read(vcpu, MMIO, 2, 0x7777);
	expect_write(vcpu, MMIO, 2, 0x000f);
	serve_read(vcpu, MMIO, 8, 0xffffffff);
	expect_write(vcpu, MMIO, 8, 0x100000000ull);
	serve_read(vcpu, MMIO, 1, 2);
	serve_read(vcpu, MMIO, 4, 5);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

static void guest_crossing(void)
{
	*(volatile u64 *)(MMIO + 0xffd) = 0x8877665544332211ull;
	GUEST_ASSERT_EQ(*(volatile u32 *)(MMIO + 0xffe), 0xd4c3b2a1);
	/* From the last bytes of memory into what has no slot, and back. */
	*(volatile u32 *)(SLOT0_SIZE - 3) = 0x44332211;
	GUEST_ASSERT_EQ(*(volatile u32 *)(SLOT0_SIZE - 2), 0xf2e13322);
	guest_done();
}

TEST(page_crossing)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	u8 *end = vm->mem + SLOT0_SIZE;

	vcpu_set_long(vcpu, guest_crossing, 0);
	expect_write(vcpu, MMIO + 0xffd, 3, 0x332211);
	expect_write(vcpu, MMIO + 0x1000, 5, 0x8877665544ull);
	serve_read(vcpu, MMIO + 0xffe, 2, 0xb2a1);
	serve_read(vcpu, MMIO + 0x1000, 2, 0xd4c3);
	expect_write(vcpu, SLOT0_SIZE, 1, 0x44);
	CHECK(!memcmp(end - 3, "\x11\x22\x33", 3));
	serve_read(vcpu, SLOT0_SIZE, 2, 0xf2e1);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

static void guest_strings(void)
{
	u64 src = GPA_HEAP, dst = MMIO, count = 3;

	asm volatile("rep movsl" : "+S"(src), "+D"(dst), "+c"(count) : : "memory");
	GUEST_ASSERT_EQ(dst, MMIO + 12);
	src = MMIO;
	dst = GPA_HEAP + 0x100;
	count = 2;
	asm volatile("rep movsb" : "+S"(src), "+D"(dst), "+c"(count) : : "memory");
	GUEST_ASSERT_EQ(src, MMIO + 2);
	GUEST_ASSERT_EQ(*(u16 *)(GPA_HEAP + 0x100), 0x2211);
	count = 2;
	dst = MMIO;
	asm volatile("rep stosw" : "+D"(dst), "+c"(count) : "a"(0x5566) : "memory");
	GUEST_ASSERT_EQ(dst, MMIO + 4);
	asm volatile("pushq (%0)\n\tpopq %1" : : "r"(MMIO), "m"(*(u64 *)(GPA_HEAP + 0x200))
		     : "memory");
	GUEST_ASSERT_EQ(*(u64 *)(GPA_HEAP + 0x200), 0x123456789ull);
	guest_done();
}

TEST(strings_and_stack)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	u32 *src = gpa_to_host(vm, GPA_HEAP);
	int i;

	for (i = 0; i < 3; i++)
		src[i] = 0x1000 + i;
	vcpu_set_long(vcpu, guest_strings, 0);
	for (i = 0; i < 3; i++)
		expect_write(vcpu, MMIO + 4 * i, 4, 0x1000 + i);
	serve_read(vcpu, MMIO, 1, 0x11);
	serve_read(vcpu, MMIO + 1, 1, 0x22);
	expect_write(vcpu, MMIO, 2, 0x5566);
	expect_write(vcpu, MMIO + 2, 2, 0x5566);
	serve_read(vcpu, MMIO, 8, 0x123456789ull);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

/* Code cannot be fetched from MMIO: an internal error with the facts, and the VM stays usable. */
static void guest_jump(void)
{
	((void (*)(void))MMIO)();
	guest_done();
}

TEST(fetch_from_mmio)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_regs regs;

	vcpu_set_long(vcpu, guest_jump, 0);
	RUN_UNTIL(vcpu, KVM_EXIT_INTERNAL_ERROR);
	CHECK_EQ(vcpu->run->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);
	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	CHECK_EQ(regs.rip, MMIO);
	vcpu_set_long(vcpu, guest_done, 0);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

static void guest_port_then_mmio(void)
{
	M(32) = in32(0x600) + 1;
	guest_done();
}

/* Data of one exit never leaks into the next one's completion. */
TEST(port_and_mmio_mixed)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;

	vcpu_set_long(vcpu, guest_port_then_mmio, 0);
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	*(u32 *)RUN_IO_DATA(vcpu) = 0x1233;
	expect_write(vcpu, MMIO, 4, 0x1234);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

/* ---- events ---- */

static void guest_stack_in_device(void)
{
	asm volatile(TRY_HEAD "mov %%rsp, %%r8\n\tmov %0, %%rsp\n\tud2" TRY_TAIL "mov %%r8, %%rsp"
		     : : "r"(MMIO + 0x800) : "rax", "rcx", "rdx", "r8", "memory", "cc");
	GUEST_ASSERT_EQ(this_cpu()->vector, 6);
	guest_done();
}

/* Nobody can push the frame there; with another stack the exception is delivered, once. */
TEST(exception_on_a_device)
{
	struct vm *vm = vm_create(1);
	struct kvm_run *run = vm->vcpu->run;
	struct kvm_vcpu_events events;
	struct kvm_regs regs;

	vcpu_set_long(vm->vcpu, guest_stack_in_device, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_INTERNAL_ERROR);
	CHECK_EQ(run->internal.suberror, KVM_INTERNAL_ERROR_DELIVERY_EV);
	STRATA_ONLY("what else the in-tree module says is another matter");
	CHECK_EQ(run->internal.data[0], 6);
	CHECK_EQ(run->internal.data[1] & ~0xfffull, MMIO);
	xioctl(vm->vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	CHECK_EQ(events.exception.injected, 1);
	CHECK_EQ(events.exception.nr, 6);
	xioctl(vm->vcpu->fd, KVM_GET_REGS, &regs);
	regs.rsp = GPA_HEAP + 0x2000;
	xioctl(vm->vcpu->fd, KVM_SET_REGS, &regs);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}
