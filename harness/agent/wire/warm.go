// SPDX-License-Identifier: Apache-2.0

package wire

import "google.golang.org/protobuf/proto"

// Warm has the messages of a deed encoded and decoded once. What protobuf works out of a type when it first meets it is in memory
// then, and no clone of a guest that is saved afterwards does it again.
func Warm() error {
	failure := &Failure{Evidence: []*Evidence{{Text: "x"}}}
	for _, m := range []proto.Message{
		&RunDeedRequest{Id: "x", Request: []byte("x")},
		&RunDeedReply{Matches: []*Match{{Fields: map[string]string{"x": "x"}}}, Failure: failure, Skipped: []*Skipped{{Program: "x"}}},
		&StopConsumerReply{DropsBy: map[string]uint64{"x": 1}},
		&DmesgRequest{Since: 1},
		&DmesgReply{Lines: []*KernelLine{{Text: "x"}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		if err := proto.Unmarshal(b, m.ProtoReflect().New().Interface()); err != nil {
			return err
		}
	}
	return nil
}
