// SPDX-License-Identifier: GPL-2.0
/*
 * What: IN and OUT of all sizes, by immediate and DX, single and string with and without REP and
 * backwards; a string that runs into a page that is not there; no port access by the wrong ring.
 * Conditions: long mode.
 * Expected: exits carry size, port, count and data; RIP, RCX, RSI, RDI and the upper halves of RAX
 * are as the manual says afterwards.
 */
#include <errno.h>
#include <string.h>

#include "cpu.h"
#include "emulator.h"

#define PORT 0x600

static void guest_sizes(void)
{
	u64 rax;

	asm volatile("movq $-1, %%rax; inb $0x60, %%al" : "=a"(rax));
	GUEST_ASSERT_EQ(rax, 0xffffffffffffff12ull);
	asm volatile("movq $-1, %%rax; inw $0x60, %%ax" : "=a"(rax));
	GUEST_ASSERT_EQ(rax, 0xffffffffffff3412ull);
	asm volatile("movq $-1, %%rax; inl $0x60, %%eax" : "=a"(rax));
	GUEST_ASSERT_EQ(rax, 0x78563412);
	GUEST_ASSERT_EQ(in8(PORT), 0x12);
	GUEST_ASSERT_EQ(in16(PORT), 0x3412);
	GUEST_ASSERT_EQ(in32(PORT), 0x78563412);
	out8(PORT, 0x91);
	out16(PORT, 0xa291);
	out32(PORT, 0xb3a2);
	out8(0x61, 0x55);
	guest_done();
}

static void expect_in(struct vcpu *vcpu, u16 port, u8 size)
{
	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.direction, KVM_EXIT_IO_IN);
	CHECK_EQ(vcpu->run->io.port, port);
	CHECK_EQ(vcpu->run->io.size, size);
	CHECK_EQ(vcpu->run->io.count, 1);
	memcpy(RUN_IO_DATA(vcpu), "\x12\x34\x56\x78", size);
}

static void expect_out(struct vcpu *vcpu, u16 port, u8 size, u32 value)
{
	u32 data = 0;

	RUN_UNTIL(vcpu, KVM_EXIT_IO);
	CHECK_EQ(vcpu->run->io.direction, KVM_EXIT_IO_OUT);
	CHECK_EQ(vcpu->run->io.port, port);
	CHECK_EQ(vcpu->run->io.size, size);
	CHECK_EQ(vcpu->run->io.count, 1);
	memcpy(&data, RUN_IO_DATA(vcpu), size);
	CHECK_EQ(data, value);
}

TEST(sizes)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;

	vcpu_set_long(vcpu, guest_sizes, 0);
	expect_in(vcpu, 0x60, 1);
	expect_in(vcpu, 0x60, 2);
	expect_in(vcpu, 0x60, 4);
	expect_in(vcpu, PORT, 1);
	expect_in(vcpu, PORT, 2);
	expect_in(vcpu, PORT, 4);
	expect_out(vcpu, PORT, 1, 0x91);
	expect_out(vcpu, PORT, 2, 0xa291);
	expect_out(vcpu, PORT, 4, 0xb3a2);
	expect_out(vcpu, 0x61, 1, 0x55);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}

#define STRING_IO(insn, port, ptr, count, prefix)					\
	asm volatile(prefix insn "\n\tcld" : "+S"(ptr), "+D"(dst), "+c"(count)		\
		     : "d"(port) : "memory")

static void guest_strings(void)
{
	u8 *src = (u8 *)GPA_HEAP, *dst = (u8 *)GPA_HEAP + 0x2000;
	u64 count = 5;

	STRING_IO("rep outsb", PORT, src, count, "");
	GUEST_ASSERT_EQ(count, 0);
	GUEST_ASSERT_EQ(src, GPA_HEAP + 5);
	count = 3;
	STRING_IO("rep outsw", PORT + 1, src, count, "");
	GUEST_ASSERT_EQ(src, GPA_HEAP + 11);
	count = 0;
	STRING_IO("rep outsl", PORT, src, count, "");
	GUEST_ASSERT_EQ(src, GPA_HEAP + 11);
	count = 7;
	STRING_IO("outsl", PORT, src, count, "");
	GUEST_ASSERT_EQ(src, GPA_HEAP + 15);
	GUEST_ASSERT_EQ(count, 7);
	/* Backwards. */
	count = 4;
	STRING_IO("rep outsb", PORT, src, count, "std\n\t");
	GUEST_ASSERT_EQ(src, GPA_HEAP + 11);
	guest_sync(1);

	count = 0x900;
	STRING_IO("rep insw", PORT, src, count, "");
	GUEST_ASSERT_EQ(count, 0);
	GUEST_ASSERT_EQ(dst, GPA_HEAP + 0x3200);
	count = 2;
	STRING_IO("rep insl", PORT, src, count, "");
	GUEST_ASSERT_EQ(dst, GPA_HEAP + 0x3208);
	STRING_IO("insb", PORT, src, count, "");
	GUEST_ASSERT_EQ(dst, GPA_HEAP + 0x3209);
	guest_done();
}

/* Gathers @want items, however many exits they take. */
static void collect_out(struct vcpu *vcpu, u16 port, u8 size, u32 want, u8 *out)
{
	struct kvm_run *run = vcpu->run;

	while (want) {
		RUN_UNTIL(vcpu, KVM_EXIT_IO);
		REQUIRE_EQ(run->io.direction, KVM_EXIT_IO_OUT);
		REQUIRE_EQ(run->io.port, port);
		REQUIRE_EQ(run->io.size, size);
		REQUIRE(run->io.count && run->io.count <= want);
		memcpy(out, RUN_IO_DATA(vcpu), run->io.count * size);
		out += run->io.count * size;
		want -= run->io.count;
	}
}

static void serve_in(struct vcpu *vcpu, u8 size, u32 want, u8 *next)
{
	struct kvm_run *run = vcpu->run;
	u32 i;

	while (want) {
		RUN_UNTIL(vcpu, KVM_EXIT_IO);
		REQUIRE_EQ(run->io.direction, KVM_EXIT_IO_IN);
		REQUIRE_EQ(run->io.port, PORT);
		REQUIRE_EQ(run->io.size, size);
		REQUIRE(run->io.count && run->io.count <= want);
		for (i = 0; i < run->io.count * size; i++)
			((u8 *)RUN_IO_DATA(vcpu))[i] = (*next)++;
		want -= run->io.count;
	}
}

TEST(strings)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	u8 *mem = gpa_to_host(vm, GPA_HEAP), out[16], next = 3;
	unsigned int i;

	for (i = 0; i < 64; i++)
		mem[i] = 0x40 + i;
	vcpu_set_long(vcpu, guest_strings, 0);
	collect_out(vcpu, PORT, 1, 5, out);
	CHECK(!memcmp(out, mem, 5));
	collect_out(vcpu, PORT + 1, 2, 3, out);
	CHECK(!memcmp(out, mem + 5, 6));
	collect_out(vcpu, PORT, 4, 1, out);
	CHECK(!memcmp(out, mem + 11, 4));
	collect_out(vcpu, PORT, 1, 4, out);
	for (i = 0; i < 4; i++)
		CHECK_EQ(out[i], mem[15 - i]);
	RUN_UNTIL_SYNC(vcpu, 1);

	serve_in(vcpu, 2, 0x900, &next);
	serve_in(vcpu, 4, 2, &next);
	serve_in(vcpu, 1, 1, &next);
	RUN_UNTIL_DONE(vcpu);
	for (i = 0; i < 0x1209; i++)
		if (mem[0x2000 + i] != (u8)(3 + i))
			break;
	CHECK_EQ(i, 0x1209);
	vm_destroy(vm);
}

#define HOLE (GPA_HEAP + 0x5000)

/* The second page of the string is not mapped: the bytes before it go through, then #PF. */
static void guest_string_fault(u64 cr2_loaded)
{
	u64 src = HOLE - 3, count = 8;

	asm volatile(TRY_HEAD "rep outsb" TRY_TAIL : "+S"(src), "+c"(count) : "d"(PORT)
		     : "memory");
	GUEST_ASSERT_EQ(this_cpu()->vector, PF_VECTOR);
	if (cr2_loaded)
		GUEST_ASSERT_EQ(this_cpu()->cr2, HOLE);
	GUEST_ASSERT_EQ(this_cpu()->error, 0);
	GUEST_ASSERT_EQ(src, HOLE);
	GUEST_ASSERT_EQ(count, 5);

	src = HOLE - 2;
	count = 4;
	asm volatile(TRY_HEAD "rep insb" TRY_TAIL : "+D"(src), "+c"(count) : "d"(PORT)
		     : "memory");
	GUEST_ASSERT_EQ(this_cpu()->vector, PF_VECTOR);
	GUEST_ASSERT_EQ(this_cpu()->error, PF_WRITE);
	GUEST_ASSERT_EQ(src, HOLE);
	GUEST_ASSERT_EQ(count, 2);
	guest_done();
}

TEST(string_faults)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	u8 *mem = gpa_to_host(vm, HOLE), out[4], next = 0x21;

	/* Bochs' VMRUN leaves the host's CR2. */
	vcpu_set_long(vcpu, guest_string_fault, !host_is_bochs_svm());
	memcpy(mem - 3, "abc", 3);
	*vm_pte(vm, HOLE, 1) = 0;
	collect_out(vcpu, PORT, 1, 3, out);
	CHECK(!memcmp(out, "abc", 3));
	serve_in(vcpu, 1, 2, &next);
	/*
	 * INS may read the port before it finds that it cannot write; it may do so once. The
	 * in-tree
	 * module reads ahead and loses more.
	 */
	if (vcpu_run(vcpu) == RUN_OTHER) {
		CHECK_EQ(vcpu->run->io.direction, KVM_EXIT_IO_IN);
		CHECK(vcpu->run->io.count == 1 || !on_strata());
		CHECK(vcpu_run(vcpu) == RUN_DONE);
	}
	CHECK(!memcmp(mem - 2, "\x21\x22", 2));
	vm_destroy(vm);
}

/* A userspace that changes RIP at the exit redirects the guest; it is not advanced again. */
static void guest_redirected(void)
{
	guest_sync(2);
	guest_done();
}

static void guest_out(void)
{
	out8(PORT, 1);
	guest_done();
}

TEST(rip_at_exit)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	struct kvm_regs regs;

	vcpu_set_long(vcpu, guest_out, 0);
	expect_out(vcpu, PORT, 1, 1);
	CHECK_EQ(vcpu_run_nothing(vcpu), -EINTR);
	xioctl(vcpu->fd, KVM_GET_REGS, &regs);
	regs.rip = (u64)guest_redirected;
	xioctl(vcpu->fd, KVM_SET_REGS, &regs);
	RUN_UNTIL_SYNC(vcpu, 2);
	RUN_UNTIL_DONE(vcpu);
	vm_destroy(vm);
}
