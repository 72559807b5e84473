"""What would ten times more image data buy?"""
